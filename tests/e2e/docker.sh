#!/usr/bin/env bash
# A Docker engine builds an image, pushes it, removes it, pulls it by tag and by digest, and runs it.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"

engine_start
server_start
repo="$SERVER_ADDR/team/app"
push() { docker push -q "$1" >/dev/null; }
pull() { docker pull -q "$1" >/dev/null; }
# Removes all names and layers of the image, so that a pull downloads everything again.
forget() {
    docker image prune -af >/dev/null
}

step "build an image of several layers"
tiny_image tiny:1
mkdir "$WORK/context"
head -c 3000000 /dev/urandom >"$WORK/context/random"
echo "hello from the orlop" >"$WORK/context/greeting"
cat >"$WORK/context/Dockerfile" <<'DOCKERFILE'
FROM tiny:1
COPY random /random
RUN sha256sum /random > /random.sum && echo built > /etc/built
COPY greeting /greeting
LABEL stage=test
CMD ["/bin/cat", "/greeting"]
DOCKERFILE
docker build -q -t "$repo:1" "$WORK/context" >/dev/null
sum=$(sha256sum "$WORK/context/random" | cut -d' ' -f1)

step "push"
push "$repo:1"
digest=$(docker inspect --format '{{index .RepoDigests 0}}' "$repo:1" | cut -d@ -f2)
same 200 "$(status HEAD "/v2/team/app/manifests/$digest" \
    -H 'Accept: application/vnd.docker.distribution.manifest.v2+json')"

step "push again, and under a second tag and a second repository (a mount)"
push "$repo:1"
docker tag "$repo:1" "$repo:2"
push "$repo:2"
docker tag "$repo:1" "$SERVER_ADDR/team/copy:1"
docker push "$SERVER_ADDR/team/copy:1" >"$WORK/mount.out"
grep -q 'Mounted from team/app' "$WORK/mount.out"

step "pull by tag and run"
forget
fails docker inspect "$repo:1"
pull "$repo:1"
same "hello from the orlop" "$(docker run --rm "$repo:1")"
same "$sum" "$(docker run --rm "$repo:1" sha256sum /random | cut -d' ' -f1)"

step "pull by digest and run"
forget
pull "$repo@$digest"
same "hello from the orlop" "$(docker run --rm "$repo@$digest")"

step "build on a base image that the builder pulls"
forget
printf 'FROM %s:2\nRUN echo derived > /etc/derived\n' "$repo" |
    docker build -q -t "$SERVER_ADDR/team/derived:1" - >/dev/null
push "$SERVER_ADDR/team/derived:1"

step "push and pull under a name that isn't localhost"
named="$ENGINE_NAME:${SERVER_ADDR##*:}/team/named:1"
docker tag "$repo:2" "$named" 2>/dev/null || { pull "$repo:2" && docker tag "$repo:2" "$named"; }
push "$named"
forget
pull "$named"

step "with the legacy builder too"
printf 'FROM %s\nCOPY greeting /again\n' "$named" >"$WORK/context/Dockerfile"
DOCKER_BUILDKIT=0 docker build -q -t "$repo:legacy" "$WORK/context" >/dev/null
push "$repo:legacy"

step "two pushes and two pulls at a time"
both() {
    local i jobs=()
    for i in 1 2; do
        "$1" "$SERVER_ADDR/team/parallel$i:1" &
        jobs+=($!)
    done
    for i in "${jobs[@]}"; do wait "$i"; done
}
for i in 1 2; do docker tag "$repo:legacy" "$SERVER_ADDR/team/parallel$i:1"; done
both push
forget
both pull

step "delete by digest: the manifest and its tags are gone"
same 202 "$(status DELETE "/v2/team/app/manifests/$digest")"
same 404 "$(status GET "/v2/team/app/manifests/$digest")"
forget
fails docker pull -q "$repo:1"
fails docker pull -q "$repo:2"
pull "$SERVER_ADDR/team/copy:1"
pull "$repo:legacy"

server_stop
step "fsck"
store_is_sound
