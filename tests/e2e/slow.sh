#!/usr/bin/env bash
# Docker, skopeo, crane and regctl push over a line so slow that the layers take five minutes, with tokens that are valid
# for one minute. The pushes succeed, and the pulled images are identical.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"
. "$E2E_DIR/users.sh"

server_start ORLOP_AUTH__HTPASSWD="$users" ORLOP_AUTH__PUBLIC='["public/**"]' ORLOP_AUTH__TOKEN_LIFETIME=60s
copy() { skopeo --policy "$WORK/policy.json" copy -q "$@"; }

# Each client has its own slow line. The server uses the host name of the request, so token requests use the line too.
RATE=100000
clients=(docker skopeo crane regctl)
for client in "${clients[@]}"; do
    # One layer takes minutes by itself, and there are so many others that some start after the first token has expired.
    # A client skips blobs that another client has pushed, so each client has its own layers.
    python3 "$E2E_DIR/layout.py" "$WORK/$client" 14000000 2500000 2500000 2500000 2500000 2500000 2500000 2500000
    port=$(free_port)
    python3 "$E2E_DIR/slow_line.py" "$port" "${SERVER_ADDR##*:}" "$RATE" 2>"$WORK/$client.line" &
    at_exit "kill $! 2>/dev/null"
    declare "${client}_line=127.0.0.1:$port"
    within 5 curl -fs "http://127.0.0.1:$port/readyz"
done

step "log in"
copy "oci:$WORK/docker:one" "docker-archive:$WORK/docker.tar:${docker_line:?}/team/docker:1"
docker load -q -i "$WORK/docker.tar" >/dev/null
echo secret | docker login -u ann --password-stdin "$docker_line" >/dev/null 2>&1
echo secret | crane auth login "${crane_line:?}" -u ann --password-stdin >/dev/null 2>&1
for line in "${regctl_line:?}" "$SERVER_ADDR"; do
    regctl registry set --tls disabled "$line"
    echo secret | regctl registry login "$line" -u ann --pass-stdin >/dev/null
done

step "push over slow lines, concurrently"
# timed NAME COMMAND…
timed() {
    local name=$1 begun=$SECONDS code=0
    shift
    "$@" >"$WORK/$name.out" 2>&1 || code=$?
    echo "$code $((SECONDS - begun))" >"$WORK/$name.took"
}
timed docker docker push "$docker_line/team/docker:1" &
pids=($!)
timed skopeo copy --dest-tls-verify=false --dest-creds ann:secret \
    "oci:$WORK/skopeo:one" "docker://${skopeo_line:?}/team/skopeo:1" &
pids+=($!)
timed crane crane push --insecure "$WORK/crane" "$crane_line/team/crane:1" &
pids+=($!)
timed regctl regctl image copy "ocidir://$WORK/regctl:one" "$regctl_line/team/regctl:1" &
pids+=($!)
wait "${pids[@]}"
bad=0
for client in "${clients[@]}"; do
    read -r code took <"$WORK/$client.took"
    echo "    $client: exit $code after $took s"
    if [ "$code" -ne 0 ] || [ "$took" -lt 300 ]; then
        bad=1
        tail -n 20 "$WORK/$client.out"
        grep "team/$client" "$SERVER_LOG" | tail -n 40 | cut -c1-300
    fi
done
same 0 "$bad"

step "the pushed images are identical when pulled"
digest=$(sed -n 's/.*digest: \(sha256:[0-9a-f]*\) .*/\1/p' "$WORK/docker.out")
id=$(docker inspect --format '{{.Id}}' "$docker_line/team/docker:1")
docker image rm -f "$docker_line/team/docker:1" >/dev/null
docker image prune -af >/dev/null
docker login -u ann -p secret "$SERVER_ADDR" >/dev/null 2>&1
docker pull -q "$SERVER_ADDR/team/docker:1" >/dev/null
same "$SERVER_ADDR/team/docker@$digest" \
    "$(docker inspect --format '{{index .RepoDigests 0}}' "$SERVER_ADDR/team/docker:1")"
same "$id" "$(docker inspect --format '{{.Id}}' "$SERVER_ADDR/team/docker:1")"
for client in skopeo crane regctl; do
    same "$(regctl manifest head "ocidir://$WORK/$client:one")" "$(regctl manifest head "$SERVER_ADDR/team/$client:1")"
    copy --src-tls-verify=false --src-creds ann:secret "docker://$SERVER_ADDR/team/$client:1" "oci:$WORK/pulled:$client"
done

server_stop
step "fsck"
store_is_sound
