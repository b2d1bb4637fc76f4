#!/usr/bin/env bash
# The registry gets a certificate from an ACME authority (Pebble, of Let's Encrypt), keeps it across restarts, renews it
# during a pull, and keeps working if the authority is unavailable or rejects requests.

# In this script's mount namespace every program sees its hosts file.
if [ -z "${E2E_HOSTS:-}" ]; then
    export E2E_HOSTS=own
    exec unshare --mount --propagation private "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"

name=$ENGINE_TLS_NAME
printf '127.0.0.1 localhost %s %s blocked.orlop.example\n' "$name" "second.$name" >"$WORK/etc-hosts"
mount --bind "$WORK/etc-hosts" /etc/hosts
export NO_PROXY=$NO_PROXY,$name no_proxy=$no_proxy,$name

SERVER_ADDR=127.0.0.1:$(free_port)
port=${SERVER_ADDR##*:}
host=$name:$port
authority=$(free_port)
management=$(free_port)
kept="$SERVER_DATA/metadata/acme/localhost%3A$authority%2Fdir"

# A private CA certifies the authority itself, as for an internal ACME server.
ca() { openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout "$WORK/$1.key" -out "$WORK/$1.pem" 2>/dev/null; }
# signed NAME CA EXTENSION
signed() {
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$WORK/$1.key" -out "$WORK/$1.csr" 2>/dev/null
    openssl x509 -req -in "$WORK/$1.csr" -CA "$WORK/$2.pem" -CAkey "$WORK/$2.key" -CAcreateserial -days 2 \
        -extfile <(echo "$3") -out "$WORK/$1.pem" 2>/dev/null
}
ca private
signed authority private subjectAltName=DNS:localhost
ca clients
signed client clients extendedKeyUsage=clientAuth

PEBBLE_PID=
# pebble_start LIFE [PORT [MORE]]: starts an authority with a new root. Its certificates are valid for LIFE seconds, and it
# validates names at PORT.
pebble_start() {
    cat >"$WORK/pebble.json" <<CONFIG
{"pebble": {
    "listenAddress": "127.0.0.1:$authority", "managementListenAddress": "127.0.0.1:$management",
    "certificate": "$WORK/authority.pem", "privateKey": "$WORK/authority.key",
    "httpPort": 1, "tlsPort": ${2:-$port}, "domainBlocklist": ["blocked.orlop.example"],
    "retryAfter": {"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
    ${3:-}
    "profiles": {"default": {"description": "the only profile", "validityPeriod": $1}}
}}
CONFIG
    # Pebble rejects one request in a hundred for its nonce, which ACME permits.
    PEBBLE_VA_NOSLEEP=1 PEBBLE_AUTHZREUSE=0 PEBBLE_WFE_NONCEREJECT=1 pebble -config "$WORK/pebble.json" >>"$WORK/pebble.log" 2>&1 </dev/null &
    PEBBLE_PID=$!
    within 10 pebble_root
}
pebble_root() { curl -fsS --cacert "$WORK/private.pem" -o "$WORK/root.pem" "https://localhost:$management/roots/0"; }
pebble_stop() {
    [ -n "$PEBBLE_PID" ] || return 0
    kill "$PEBBLE_PID"
    wait "$PEBBLE_PID" 2>/dev/null || true
    PEBBLE_PID=
}
at_exit pebble_stop

# The server is ready without a certificate too. Otherwise the authority could not reach it to validate names.
server_ready() { "$E2E_BIN" healthcheck --data "$SERVER_DATA" >/dev/null 2>&1; }
settings=(
    ORLOP_ACME__NAMES="[\"$name\", \"second.$name\"]" ORLOP_ACME__ACCEPT_TERMS=true ORLOP_ACME__EMAIL=ops@orlop.example
    ORLOP_ACME__DIRECTORY="https://localhost:$authority/dir" ORLOP_OUTBOUND__CA_FILE="$WORK/private.pem"
)
https() { curl -fsS --cacert "$WORK/root.pem" "$@"; }
answers() { https -o /dev/null "$@" "https://$host/v2/"; }
serial() {
    openssl s_client -connect "$SERVER_ADDR" -servername "$name" </dev/null 2>/dev/null | openssl x509 -noout -serial
}
logged() { grep -q "$@" "$SERVER_LOG"; }
orders() { grep -c 'POST /order-plz' "$WORK/pebble.log" || true; }

step "the settings are checked"
env "${settings[@]}" "$E2E_BIN" check-config >/dev/null
fails env "${settings[@]}" ORLOP_ACME__ACCEPT_TERMS=false "$E2E_BIN" check-config
grep -q 'acme.accept_terms' "$WORK/fails.out"

step "without the authority the server runs, logs the failure and has no certificate"
server_start "${settings[@]}"
within 10 logged 'certificate request failed; retrying in'
grep 'certificate request failed; retrying in' "$SERVER_LOG" | grep -q "https://localhost:$authority/dir.*Connection refused"
fails curl -sS -k "https://$host/v2/"

step "the server gets a certificate as soon as the authority is available"
pebble_start 7776000
within 40 answers
answers --http1.1
same 2 "$(https -o /dev/null -w '%{http_version}' "https://$host/v2/")"
https -o /dev/null --resolve "second.$name:$port:127.0.0.1" "https://second.$name:$port/v2/"
logged 'the authority issued a certificate'
same '600 600' "$(stat -c %a "$kept/account.json" "$kept/certificate.pem" | xargs)"
https "https://$host/metrics" | grep -Eq '^orlop_tls_certificate_expiry_timestamp_seconds [0-9]{10}$'

step "other clients get no challenge response"
fails openssl s_client -connect "$SERVER_ADDR" -servername "$name" -alpn acme-tls/1 </dev/null
grep -q 'alert no application protocol' "$WORK/fails.out"

step "skopeo and Docker trust it"
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$WORK/policy.json"
python3 "$E2E_DIR/layout.py" "$WORK/layout" 24000000
export SSL_CERT_FILE="$WORK/root.pem"
copy() { skopeo --policy "$WORK/policy.json" copy -q "$@"; }
copy "oci:$WORK/layout:one" "docker://$host/team/one:1"
copy "docker://$host/team/one:1" "oci:$WORK/pulled:one"
layer=$(skopeo inspect --raw "docker://$host/team/one:1" | python3 -c 'import json, sys
print(json.load(sys.stdin)["layers"][0]["digest"])')
engine_start
unset SSL_CERT_FILE
tiny_image tiny:1
docker tag tiny:1 "$host/team/tiny:1"
docker push -q "$host/team/tiny:1" >/dev/null
docker rmi tiny:1 "$host/team/tiny:1" >/dev/null
docker pull -q "$host/team/tiny:1" >/dev/null
engine_stop

step "a restart uses the stored certificate and orders nothing"
logged 'there is no certificate yet'
first=$(serial) ordered=$(orders)
server_stop
server_start "${settings[@]}"
answers
same "$first" "$(serial)"
same "$ordered" "$(orders)"

step "a certificate is renewed when the authority suggests it, whatever lifetime is left"
server_stop
python3 - "$kept/certificate.pem" >"$WORK/suggestion.json" <<'SUGGEST'
import json, sys
window = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
print(json.dumps({"Certificate": open(sys.argv[1]).read(), "ARIResponse": json.dumps({"suggestedWindow": window})}))
SUGGEST
curl -fsS --cacert "$WORK/private.pem" -d "@$WORK/suggestion.json" "https://localhost:$management/set-renewal-info/"
server_start "${settings[@]}"
renewed() { answers && [ "$(serial)" != "$first" ]; }
within 20 renewed
logged 'suggests to renew the certificate early'
# One order, which may have been sent twice.
test "$(orders)" -le $((ordered + 2))
first=$(serial)

step "the authority needs no client certificate even if clients do"
server_stop
rm "$kept/certificate.pem"
server_start "${settings[@]}" ORLOP_SERVER__TLS_CLIENT_CA="$WORK/clients.pem"
within 20 answers --cert "$WORK/client.pem" --key "$WORK/client.key"
fails answers
test "$first" != "$(serial)"
server_stop

step "an account unknown to the authority is created again, and certificates that expire soon are renewed"
pebble_stop
pebble_start 30
rm "$kept/certificate.pem"
server_start "${settings[@]}"
within 40 answers
logged accountDoesNotExist

step "a renewal interrupts no pull"
first=$(serial)
https --limit-rate 700k -o "$WORK/slow" "https://$host/v2/team/one/blobs/$layer" &
slow=$!
within 30 renewed
kill -0 "$slow"
answers
wait "$slow"
same "$layer" "sha256:$(sha256sum "$WORK/slow" | cut -d' ' -f1)"
server_stop

step "errors of the authority are logged, and the registry keeps running"
: >"$SERVER_LOG"
rm "$kept/certificate.pem"
server_start "${settings[@]}" ORLOP_ACME__NAMES='["blocked.orlop.example"]'
within 10 logged 'the authority rejected the request: .*blocked.orlop.example.*(rejectedIdentifier)'
server_ready
server_stop
pebble_stop
pebble_start 7776000 "$(free_port)"
rm "$kept/account.json"
server_start "${settings[@]}"
# The authority validates both names at once; either failure may be the first.
within 20 logged "the authority could not validate \(second\.\)\?$name: .*tls-alpn-01"
server_ready
server_stop
pebble_stop

step "the account is bound to an external account"
secret=zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W
pebble_start 7776000 "$port" "\"externalAccountBindingRequired\": true, \"externalAccountMACKeys\": {\"kid-1\": \"$secret\"},"
rm -f "$kept/account.json"
server_start "${settings[@]}"
within 10 logged externalAccountRequired
server_stop
echo "$secret" >"$WORK/eab"
server_start "${settings[@]}" ORLOP_ACME__EAB_KEY_ID=kid-1 ORLOP_ACME__EAB_KEY_FILE="$WORK/eab"
within 10 answers
server_stop

step "no key is in the log"
fails grep -q "PRIVATE KEY\|key_pkcs8\|$secret" "$SERVER_LOG"
store_is_sound >/dev/null
