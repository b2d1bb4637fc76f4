#!/usr/bin/env bash
# The web pages in a real browser: every page and action as administrator, pusher, reader and anonymous; without
# JavaScript; at a name over plain HTTP; and behind nginx with TLS. Pages are checked for what people with a screen reader
# or a keyboard can't use, and nothing may appear on the browser's console.
#
#   PAGES_SHOTS=FOLDER   also saves a picture of every page, at two widths, light and dark
. "$(dirname "$0")/lib.sh"

export E2E_NODE="$E2E_CACHE/node"
: "${SERVER_ADDR:=127.0.0.1:$(free_port)}"
server_start ORLOP_AUTH__ADMIN_PASSWORD=correct-horse ORLOP_SERVER__TRUSTED_PROXIES='["127.0.0.2"]' \
    ORLOP_RETENTION__POLICIES='[{ name = "builds", repositories = ["team/**"], preset = "ci" }]' \
    ORLOP_QUOTAS='[{ prefix = "team/", bytes = "10GB" }]'
orlop() { "$E2E_BIN" --data "$SERVER_DATA" "$@"; }
python3 "$E2E_DIR/pages/fill.py" "http://$SERVER_ADDR" admin:correct-horse

step "create users"
password_of() { sed -n 's/^password: //p'; }
PUSHER=$(orlop user add pusher --may push:team/ --may push:scratch/ | password_of)
READER=$(orlop user add reader --may pull:team/frontend/ | password_of)
export PUSHER READER ADMIN=correct-horse

step "start nginx with TLS"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registry.test -keyout "$WORK/key" -out "$WORK/crt" 2>/dev/null
port=$(free_port)
mkdir "$WORK/nginx"
{
    echo "user root; daemon off; pid $WORK/nginx/pid; error_log $WORK/nginx/error warn; events {}"
    echo "http { access_log off;"
    for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $WORK/nginx/$kind;"; done
    echo "server { listen 127.0.0.1:$port ssl; ssl_certificate $WORK/crt; ssl_certificate_key $WORK/key; proxy_bind 127.0.0.2;"
    python3 "$E2E_DIR/readme.py" proxy | sed "s|http://127.0.0.1:5000|http://$SERVER_ADDR|"
    echo "} }"
} >"$WORK/nginx/conf"
nginx -c "$WORK/nginx/conf" 2>/dev/null &
at_exit "kill $! 2>/dev/null"
within 5 curl -fsk "https://127.0.0.1:$port/readyz"

failed=
run() { timeout 300 node "$E2E_DIR/pages/pages.mjs" "$@" || failed="$failed $1"; }
step "with JavaScript"
run script "http://$SERVER_ADDR"
step "without JavaScript"
run plain "http://$SERVER_ADDR"
step "at a name, over plain HTTP"
run name "http://nas:${SERVER_ADDR#*:}"
step "behind nginx with TLS"
run tls "https://registry.test:$port"
step "all runs succeed"
same "" "$failed"
server_stop
store_is_sound
