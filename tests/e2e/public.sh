#!/usr/bin/env bash
# Public and private images on one host. Anyone pulls public images without a login. Private images need a password, by
# Docker's token protocol.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"
. "$E2E_DIR/users.sh"

settings=(ORLOP_AUTH__HTPASSWD="$users" ORLOP_AUTH__PUBLIC='["public/**"]' ORLOP_AUTH__TOKEN_LIFETIME=60s)
server_start "${settings[@]}"
public="$SERVER_ADDR/public/app" private="$SERVER_ADDR/team/app"

# token SCOPE [curl option…]
token() {
    local scope=$1
    shift
    curl -s "$@" "http://$SERVER_ADDR/auth/token?service=orlop&scope=$scope" |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])'
}

step "start an upload that takes longer than its token is valid"
slow=$(token repository:team/slow:pull,push -u ann:secret)
upload=$(curl -s -D - -o /dev/null -X POST -H "Authorization: Bearer $slow" \
    "http://$SERVER_ADDR/v2/team/slow/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
head -c 7000000 /dev/urandom >"$WORK/slow"
curl -s -o /dev/null -w '%{http_code} %{time_total}\n' -X PATCH -H "Authorization: Bearer $slow" --limit-rate 100k \
    -T "$WORK/slow" "http://$SERVER_ADDR$upload" >"$WORK/slow.out" &
slow_pid=$!

step "pushes and private pulls without a login are rejected"
tiny_image "$public:1"
docker tag "$public:1" "$private:1"
fails docker push "$public:1"
fails docker pull "$private:1"
fails docker login -u ann -p mistaken "$SERVER_ADDR"

step "Docker logs in and pushes both"
echo secret | docker login -u ann --password-stdin "$SERVER_ADDR" >/dev/null 2>&1
docker push -q "$public:1" >/dev/null
docker push -q "$private:1" >/dev/null

step "Docker pulls public images without a login and private images with one"
forget() {
    docker image rm -f "$public:1" "$private:1" >/dev/null 2>&1
    docker image prune -af >/dev/null
}
forget
docker pull -q "$private:1" >/dev/null
docker pull -q "$public:1" >/dev/null
docker logout "$SERVER_ADDR" >/dev/null
forget
docker pull -q "$public:1" >/dev/null
fails docker pull "$private:1"

step "skopeo and buildah"
copy() { skopeo --policy "$WORK/policy.json" copy -q "$@"; }
copy --dest-tls-verify=false --dest-creds ann:secret "oci:$WORK/layout:one" "docker://$SERVER_ADDR/public/one:1"
copy --dest-tls-verify=false --dest-creds ann:secret "oci:$WORK/layout:one" "docker://$SERVER_ADDR/team/one:1"
fails copy --dest-tls-verify=false --dest-no-creds "oci:$WORK/layout:one" "docker://$SERVER_ADDR/public/one:2"
skopeo inspect --tls-verify=false --no-creds "docker://$SERVER_ADDR/public/one:1" >/dev/null
fails skopeo inspect --tls-verify=false --no-creds "docker://$SERVER_ADDR/team/one:1"
skopeo inspect --tls-verify=false --creds ann:secret "docker://$SERVER_ADDR/team/one:1" >/dev/null
skopeo delete --tls-verify=false --creds ann:secret "docker://$SERVER_ADDR/team/one:1"
same 404 "$(status HEAD /v2/team/one/manifests/1 -u ann:secret)"

step "crane: without a login"
same 1 "$(crane ls --insecure "$SERVER_ADDR/public/one")"
crane pull --insecure "$SERVER_ADDR/public/one:1" "$WORK/one.tar"
fails crane ls --insecure "$SERVER_ADDR/team/app"
fails crane catalog --insecure "$SERVER_ADDR"

step "crane: with a login, including a copy with mounts, the catalog and a delete"
echo secret | crane auth login "$SERVER_ADDR" -u ann --password-stdin >/dev/null 2>&1
crane copy --insecure "$SERVER_ADDR/public/one:1" "$SERVER_ADDR/team/two:1" >/dev/null 2>&1
crane copy --insecure "$SERVER_ADDR/team/two:1" "$SERVER_ADDR/public/two:1" >/dev/null 2>&1
crane catalog --insecure "$SERVER_ADDR" >"$WORK/catalog"
grep -q '^team/two$' "$WORK/catalog"
crane delete --insecure "$SERVER_ADDR/team/two:1"
fails crane digest --insecure "$SERVER_ADDR/team/two:1"
crane auth logout "$SERVER_ADDR" >/dev/null 2>&1

step "regctl: without a login and with one"
regctl registry set --tls disabled "$SERVER_ADDR"
same 1 "$(regctl tag ls "$SERVER_ADDR/public/one")"
fails regctl tag ls "$SERVER_ADDR/team/app"
echo secret | regctl registry login "$SERVER_ADDR" -u ann --pass-stdin >/dev/null
same 1 "$(regctl tag ls "$SERVER_ADDR/team/app")"
regctl image copy "$SERVER_ADDR/team/app:1" "$SERVER_ADDR/team/three:1" >/dev/null
regctl tag rm "$SERVER_ADDR/team/three:1"

step "the upload succeeds although its token has expired"
wait "$slow_pid"
read -r answer took <"$WORK/slow.out"
same 202 "$answer"
awk "BEGIN { exit !($took > 61) }"
same 401 "$(status GET "$upload" -H "Authorization: Bearer $slow")"
digest=sha256:$(sha256sum "$WORK/slow" | cut -d' ' -f1)
same 201 "$(status PUT "$upload?digest=$digest" -u ann:secret)"

step "a token survives a restart but not a password change"
kept=$(token repository:team/app:pull -u ann:secret)
server_stop
server_start "${settings[@]}"
same 200 "$(status GET /v2/team/app/manifests/1 -H "Authorization: Bearer $kept")"
htpasswd -nbBC 5 ann other >"$users.new"
mv "$users.new" "$users"
within 5 sh -c "[ \$(curl -s -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer $kept' \
    http://$SERVER_ADDR/v2/team/app/manifests/1) = 401 ]"
