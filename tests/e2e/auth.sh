#!/usr/bin/env bash
# With an htpasswd file: Docker logs in, pushes, pulls and logs out. skopeo, crane and regctl work with a password.
# Requests without a valid password are rejected.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"
. "$E2E_DIR/users.sh"

server_start ORLOP_AUTH__HTPASSWD="$users"
repo="$SERVER_ADDR/team/app"

step "requests without a password or with a wrong one are rejected"
tiny_image "$repo:1"
fails docker push "$repo:1"
fails docker pull "$repo:1"
fails docker login -u ann -p mistaken "$SERVER_ADDR"
same 401 "$(status GET /v2/)"
same 401 "$(status GET /v2/_catalog)"
same 401 "$(status GET /api/v1/repositories)"
same 401 "$(status GET /metrics)"
same 200 "$(status GET /readyz)"

step "Docker logs in, pushes, removes the image and pulls it again"
echo secret | docker login -u ann --password-stdin "$SERVER_ADDR" >/dev/null 2>&1
docker push -q "$repo:1" >/dev/null
docker image rm -f "$repo:1" >/dev/null
docker image prune -af >/dev/null
docker pull -q "$repo:1" >/dev/null

step "the history names who pushed"
"$E2E_BIN" tag history team/app:1 --data "$SERVER_DATA" >"$WORK/history"
grep -q ' ann' "$WORK/history"

step "skopeo, crane and regctl work with a password"
skopeo --policy "$WORK/policy.json" copy -q --dest-tls-verify=false --dest-creds ann:secret \
    "oci:$WORK/layout:one" "docker://$SERVER_ADDR/skopeo/one:1"
fails skopeo inspect --tls-verify=false --no-creds "docker://$SERVER_ADDR/skopeo/one:1"
echo secret | crane auth login "$SERVER_ADDR" -u ann --password-stdin >/dev/null 2>&1
same 1 "$(crane ls --insecure "$SERVER_ADDR/skopeo/one")"
regctl registry set --tls disabled "$SERVER_ADDR"
echo secret | regctl registry login "$SERVER_ADDR" -u ann --pass-stdin >/dev/null
same 1 "$(regctl tag ls "$SERVER_ADDR/skopeo/one")"

step "a user removed from the file loses access, and an added user gains it"
htpasswd -nbBC 5 bob other >"$users.new"
mv "$users.new" "$users"
within 5 sh -c "[ \$(curl -s -o /dev/null -w '%{http_code}' -u ann:secret http://$SERVER_ADDR/v2/) = 401 ]"
fails docker pull "$repo:1"
same 200 "$(status GET /v2/ -u bob:other)"

step "Docker logs out"
docker login -u bob -p other "$SERVER_ADDR" >/dev/null 2>&1
docker pull -q "$repo:1" >/dev/null
docker logout "$SERVER_ADDR" >/dev/null
fails docker pull "$repo:1"

step "no password is in the log"
fails grep -q 'secret\|mistaken' "$SERVER_LOG"
