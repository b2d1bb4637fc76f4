#!/usr/bin/env bash
# The README's commands do what it says: the blocks marked for it (see ./readme.py) run in order.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"

if [ ! -e "$REPO_DIR/README.md" ] && [ -z "${CI:-}" ]; then
    echo "no README.md yet"
    exit 0
fi

SERVER_ADDR=127.0.0.1:5000
engine_start
# What an example pulls or builds on can't come from outside.
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
# The files that an example names are the reader's; here they lie in the work folder.
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
# With a process group for each job, what a block started ends with it.
set -m
trap 'code=$?; for job in $(jobs -p); do kill -- "-$job"; done; wait; exit $code' EXIT
RUN
cat "$WORK/commands" >>"$WORK/script"

step "run the README's commands"
cd "$REPO_DIR"
export WORK
bash "$WORK/script"
