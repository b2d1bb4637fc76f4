#!/usr/bin/env bash
# Access without a password: jobs with tokens signed by an OpenID Connect provider, people who sign in with it, and
# clients that get their tokens from another token authority.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"
. "$E2E_DIR/users.sh"

key="$WORK/issuer.pem" port=$(free_port)
python3 "$E2E_DIR/issuer.py" key "$key"
python3 "$E2E_DIR/issuer.py" serve "$key" "$port" &
issuer_pid=$!
at_exit "kill $issuer_pid"
within 10 curl -fs -o /dev/null "http://127.0.0.1:$port/keys"
signed() { python3 "$E2E_DIR/issuer.py" token "$key" "$port" "$@"; }

cat >"$WORK/orlop.toml" <<TOML
[server]
public_url = "http://$SERVER_ADDR"

[[identity_providers]]
name = "company"
issuer = "http://127.0.0.1:$port"
audience = "registry"
client_id = "orlop"
client_secret = "s3cret"

[[identity_providers.rules]]
claims = { repository = "acme/*" }
may = ["push:acme/"]

[[identity_providers.rules]]
claims = { groups = "devs" }
teams = ["acme/devs"]
TOML
server_start ORLOP_CONFIG="$WORK/orlop.toml"
repo="$SERVER_ADDR/acme/app"
tiny_image "$repo:1"
tiny_image "$SERVER_ADDR/other/app:1"

step "requests without credentials are rejected"
same 401 "$(status GET /v2/)"
fails docker push "$repo:1"

step "a job logs in with its signed token and pushes where its rule allows"
signed exp=-55 >"$WORK/short"
docker login -u ci --password-stdin "$SERVER_ADDR" <"$WORK/short" >/dev/null 2>&1
docker push -q "$repo:1" >/dev/null
fails docker push "$SERVER_ADDR/other/app:1"

step "the job continues after the signed token has expired"
within 20 sh -c "[ \$(curl -s -o /dev/null -w '%{http_code}' -u ci:$(cat "$WORK/short") http://$SERVER_ADDR/v2/) = 401 ]"
docker image rm -f "$repo:1" >/dev/null
docker image prune -af >/dev/null
docker pull -q "$repo:1" >/dev/null
docker logout "$SERVER_ADDR" >/dev/null
fails docker pull "$repo:2"

step "skopeo, crane and regctl log in the same way"
token=$(signed)
skopeo --policy "$WORK/policy.json" copy -q --dest-tls-verify=false --dest-creds "ci:$token" \
    "oci:$WORK/layout:one" "docker://$SERVER_ADDR/acme/one:1"
crane auth login "$SERVER_ADDR" -u ci --password-stdin <<<"$token" >/dev/null 2>&1
crane copy --insecure "$SERVER_ADDR/acme/one:1" "$SERVER_ADDR/acme/two:1" >/dev/null 2>&1
crane auth logout "$SERVER_ADDR" >/dev/null 2>&1
regctl registry set --tls disabled "$SERVER_ADDR"
regctl registry login "$SERVER_ADDR" -u ci --pass-stdin <<<"$token" >/dev/null
same 1 "$(regctl tag ls "$SERVER_ADDR/acme/one")"
regctl registry logout "$SERVER_ADDR" >/dev/null

step "tokens for another audience and tokens that no rule matches are rejected, and the log says why"
fails docker login -u ci -p "$(signed aud=another)" "$SERVER_ADDR"
fails docker login -u ci -p "$(signed repository=evil/app)" "$SERVER_ADDR"
within 5 grep -q 'token rejected: verification failed: InvalidAudience' "$SERVER_LOG"
within 5 grep -q 'token rejected: no rule matches its claims' "$SERVER_LOG"

step "a person signs in with a browser and logs in with the token that it shows"
orlop() { "$E2E_BIN" "$@" --data "$SERVER_DATA"; }
orlop org add acme >/dev/null
orlop org add-team acme/devs >/dev/null
orlop org grant acme/devs push acme/ >/dev/null
curl -fsL -c "$WORK/cookies" -b "$WORK/cookies" "http://$SERVER_ADDR/login" >"$WORK/page"
grep -q "docker login $SERVER_ADDR --username ann" "$WORK/page"
sed -n 's/.*<pre>\(orlop_[^<]*\)<.*/\1/p' "$WORK/page" | docker login -u ann --password-stdin "$SERVER_ADDR" >/dev/null 2>&1
tiny_image "$SERVER_ADDR/acme/of-ann:1"
docker push -q "$SERVER_ADDR/acme/of-ann:1" >/dev/null
docker logout "$SERVER_ADDR" >/dev/null
curl -fs "http://$SERVER_ADDR/login/company/callback?state=x&code=y" -o /dev/null && exit 1

step "the history and the audit log name the client and contain no token"
orlop tag history acme/app:1 >"$WORK/history"
grep -q 'company:repo:acme/app' "$WORK/history"
orlop tag history acme/of-ann:1 >"$WORK/history"
grep -q ' ann' "$WORK/history"
orlop audit >"$WORK/audit"
grep -q 'company:repo:acme/app' "$WORK/audit"
fails grep -q 'eyJ' "$SERVER_LOG" "$WORK/audit"

step "tokens of another token authority are accepted"
server_stop
SERVER_DATA="$WORK/governed"
server_start ORLOP_TOKEN_AUTHORITY__REALM="http://127.0.0.1:$port/registry-token" \
    ORLOP_TOKEN_AUTHORITY__SERVICE=registry.example.com ORLOP_TOKEN_AUTHORITY__ISSUER=authority \
    ORLOP_TOKEN_AUTHORITY__KEYS="http://127.0.0.1:$port/keys"
tiny_image "$repo:2"
fails docker push "$repo:2"
echo secret | docker login -u ann --password-stdin "$SERVER_ADDR" >/dev/null 2>&1
docker push -q "$repo:2" >/dev/null
docker image rm -f "$repo:2" >/dev/null
docker pull -q "$repo:2" >/dev/null
# crane contacts no token authority on a private address.
skopeo --policy "$WORK/policy.json" copy -q --src-tls-verify=false --dest-tls-verify=false --src-creds ann:secret \
    --dest-creds ann:secret "docker://$repo:2" "docker://$SERVER_ADDR/acme/copy:2"
regctl registry login "$SERVER_ADDR" -u ann --pass-stdin <<<secret >/dev/null
same 2 "$(regctl tag ls "$SERVER_ADDR/acme/copy")"
regctl registry logout "$SERVER_ADDR" >/dev/null
docker logout "$SERVER_ADDR" >/dev/null
fails docker pull "$repo:2"
store_is_sound >/dev/null
