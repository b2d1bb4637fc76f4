#!/usr/bin/env bash
# Runs the commands in README.md and docs/*.md: the marked code blocks (see ./readme.py), in order.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"

if [ ! -e "$REPO_DIR/README.md" ] && [ -z "${CI:-}" ]; then
    echo "no README.md yet"
    exit 0
fi

SERVER_ADDR=127.0.0.1:5000
engine_start
# The images that examples pull or build on can't be downloaded here.
tiny_image busybox
tiny_image hello-world
tiny_image alpine

python3 "$E2E_DIR/readme.py" ci >"$WORK/commands"
PATH="$(dirname "$E2E_BIN"):$PATH"
export ORLOP_STORAGE__DATA="$WORK/data"

mkdir "$WORK/etc"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
    -keyout "$WORK/etc/tls.key" -out "$WORK/etc/tls.crt" 2>/dev/null

cat >"$WORK/script" <<'RUN'
set -euo pipefail
# The files that an example names belong to the reader. Here they are in the work folder.
check_config() {
    sed "s|\"/etc/orlop/|\"$WORK/etc/|" >"$WORK/block.toml"
    orlop check-config --config "$WORK/block.toml"
}
wait_ready() {
    local i
    for ((i = 0; i < 300; i++)); do
        curl -fs -o /dev/null http://localhost:5000/readyz && return
        kill -0 "$1" || return 1
        sleep 0.1
    done
    echo "not ready after 30 s" >&2
    return 1
}
# Each job has its own process group, so everything that a block started ends with it.
set -m
trap 'code=$?; for job in $(jobs -p); do kill -- "-$job"; done; wait; exit $code' EXIT
RUN
cat "$WORK/commands" >>"$WORK/script"

step "run the commands of README.md and docs"
cd "$REPO_DIR"
export WORK
bash "$WORK/script"
