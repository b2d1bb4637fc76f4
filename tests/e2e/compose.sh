#!/usr/bin/env bash
# The Dockerfile builds, compose starts the image and it becomes healthy, and pushed images survive a
# restart and a new container on the same volume. No base image can be pulled here: see ./stand-in.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"

engine_start

step "stand-in for the builder's base image"
from=$(sed -n 's/^FROM \(.*\) AS build$/\1/p' "$REPO_DIR/Dockerfile")
rootfs="$E2E_CACHE/stand-in-$(rustc --version | cut -d' ' -f2).tar"
if [ ! -s "$rootfs" ]; then
    echo "missing: $rootfs; .ci/install makes it (it needs a network, this script has none)" >&2
    exit 1
fi
docker import - stand-in <"$rootfs" >/dev/null
# The crates of the lock file, from this machine's cargo cache: the build is offline, however the
# machine reaches its registry.
mkdir -p "$WORK/base/registry"
cp -r "$CARGO_HOME"/registry/{cache,index} "$WORK/base/registry"
cat >"$WORK/base/Dockerfile" <<'DOCKERFILE'
FROM stand-in
ENV CARGO_HOME=/usr/local/cargo CARGO_NET_OFFLINE=true
COPY registry /usr/local/cargo/registry
DOCKERFILE
docker build -q -t "$from" "$WORK/base" >/dev/null

step "build with compose, as the README describes"
# Only files that are or would be committed, so that a target folder can't influence the build.
mkdir "$WORK/src"
git -C "$REPO_DIR" ls-files -z --cached --others --exclude-standard |
    tar -C "$REPO_DIR" --null --ignore-failed-read -T - -c | tar -C "$WORK/src" -x
cd "$WORK/src"
# The profile for users takes many times as long to build, and differs only in how much is optimized. Set in the file,
# so that the commands of the README use it too.
sed -i 's/^ARG PROFILE=dist$/ARG PROFILE=quick/' Dockerfile
grep -q '^ARG PROFILE=quick$' Dockerfile
docker-compose build >"$WORK/build.log" 2>&1 ||
    { tail -n 60 "$WORK/build.log"; exit 1; }
size=$(docker image inspect --format '{{.Size}}' orlop:latest)
echo "    image: $((size / 1000000)) MB"
same "65532:65532 [/orlop] [serve]" \
    "$(docker image inspect --format '{{.Config.User}} {{.Config.Entrypoint}} {{.Config.Cmd}}' orlop:latest)"

step "up, and healthy"
down() {
    [ "${1:-0}" -eq 0 ] || docker-compose logs --tail 20
    docker-compose down -v >/dev/null 2>&1
}
# shellcheck disable=SC2016 # expanded when the script ends
at_exit 'down "$code"'
docker-compose up -d 2>/dev/null
container=$(docker-compose ps -q orlop)
health() { docker inspect --format '{{.State.Health.Status}}' "$container"; }
healthy() { [ "$(health)" = healthy ]; }
within 120 healthy
SERVER_ADDR=127.0.0.1:5000
same 200 "$(status GET /readyz)"
# The engine applies the limits of the compose file.
same "536870912 1000000000" \
    "$(docker inspect --format '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}' "$container")"

step "push, restart and pull"
tiny_image 127.0.0.1:5000/box/tiny:1
docker push -q 127.0.0.1:5000/box/tiny:1 >/dev/null
digest=$(docker inspect --format '{{index .RepoDigests 0}}' 127.0.0.1:5000/box/tiny:1)
docker-compose restart 2>/dev/null
same 0 "$(docker inspect --format '{{.State.ExitCode}}' "$container")"
within 120 healthy
docker rmi -f 127.0.0.1:5000/box/tiny:1 >/dev/null
docker pull -q "$digest" >/dev/null

step "start a new container on the same volume after a SIGKILL"
docker kill "$container" >/dev/null
docker-compose down 2>/dev/null
docker-compose up -d 2>/dev/null
container=$(docker-compose ps -q orlop)
within 120 healthy
docker rmi -f "$digest" >/dev/null
docker pull -q 127.0.0.1:5000/box/tiny:1 >/dev/null

step "fsck with the server running, and on the stopped store"
docker-compose exec -T orlop /orlop fsck
docker-compose stop 2>/dev/null
docker-compose run --rm -T orlop fsck

if grep -q '^```sh compose' "$REPO_DIR/README.md" 2>/dev/null; then
    step "the README's own commands"
    docker-compose down 2>/dev/null
    python3 "$E2E_DIR/readme.py" compose >"$WORK/commands"
    bash -euo pipefail "$WORK/commands"
fi

step "plain docker run with a volume and no configuration file"
docker run -d --name plain -p 127.0.0.1:5001:5000 -v plain:/data orlop:latest >/dev/null
container=plain
within 120 healthy
# shellcheck disable=SC2046 # one word per container
docker rm -f $(docker ps -q) >/dev/null

step "the volume of a registry:2, filled by Debian's docker-registry"
mkdir "$WORK/adopt"
cd "$WORK/adopt"
export COMPOSE_PROJECT_NAME=adopt
docker volume create adopt_registry-data >/dev/null
volume=$(docker volume inspect --format '{{.Mountpoint}}' adopt_registry-data)
docker tag 127.0.0.1:5000/box/tiny:1 "$SERVER_ADDR/old/deep/app:1"
docker tag 127.0.0.1:5000/box/tiny:1 "$SERVER_ADDR/old:latest"
SERVER_PID=
E2E_SERVER=docker-registry SERVER_DATA=$volume server_start
for name in old/deep/app:1 old:latest; do docker push -q "$SERVER_ADDR/$name" >/dev/null; done
old=$(docker inspect --format '{{index .RepoDigests}}' "$SERVER_ADDR/old:latest")
E2E_SERVER=docker-registry server_stop

step "orlop does not start empty on it, and says what to run"
python3 "$E2E_DIR/readme.py" adopt "$REPO_DIR/docs/adopt.md" >"$WORK/adopt.all"
sed -n '/^services:/,/^  registry-data:/p' "$WORK/adopt.all" >docker-compose.yml
docker-compose up 2>&1 | tee "$WORK/refused" >/dev/null || true
grep -q 'orlop adopt /var/lib/registry' "$WORK/refused"

step "adopt it with the commands of docs/adopt.md, and pull everything"
sed -n '/^docker compose down/,$p' "$WORK/adopt.all" | sed 's/run --rm/run --rm -T/' >"$WORK/commands"
bash -euo pipefail "$WORK/commands" 2>&1 | tee "$WORK/adopted"
container=$(docker-compose ps -q registry)
within 120 healthy
for name in old/deep/app:1 old:latest; do
    docker rmi -f "$SERVER_ADDR/$name" >/dev/null
    docker pull -q "$SERVER_ADDR/$name" >/dev/null
done
same "$old" "$(docker inspect --format '{{index .RepoDigests}}' "$SERVER_ADDR/old:latest")"
docker-compose exec -T registry /orlop fsck
down
