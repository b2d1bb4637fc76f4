# shellcheck shell=bash
# Sourced after engine.sh by scripts with logins: starts an engine and creates an htpasswd file with the user ann and an
# image layout to push.
users="$WORK/users"
htpasswd -nbBC 5 ann secret >"$users"
: "${SERVER_ADDR:=127.0.0.1:$(free_port)}"
engine_start
python3 "$E2E_DIR/layout.py" "$WORK/layout"
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$WORK/policy.json"
