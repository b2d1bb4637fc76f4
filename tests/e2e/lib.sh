# shellcheck shell=bash
# Sourced by every end-to-end script: a temporary work folder, a server on a free loopback port, and
# the report of a failed step.
#
#   E2E_SERVER   `orlop` (default), or `docker-registry` to try a script against Debian's
#   E2E_BIN      the binary under test (default: the release build)
#   E2E_KEEP     if set, the work folder is kept for inspection
#
# (Names that start with ORLOP_ are settings of the server, which rejects unknown ones.)
set -euo pipefail

# Each script gets its own network with loopback only: no port is in use, no client can reach anything
# outside the machine, and an engine's bridges disappear when the script ends.
if [ -z "${E2E_NETWORK:-}" ]; then
    export E2E_NETWORK=own
    # shellcheck disable=SC2016 # expanded by the inner shell
    exec unshare --net sh -c 'ip link set lo up && exec "$0" "$@"' "$0" "$@"
fi

E2E_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO_DIR=$(cd "$E2E_DIR/../.." && pwd)
: "${E2E_SERVER:=orlop}"
: "${E2E_BIN:=${CARGO_TARGET_DIR:-$REPO_DIR/target}/release/orlop}"
E2E_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/orlop-ci
export E2E_BIN E2E_SERVER
# .ci/install puts the clients here. The engine started by engine.sh uses Debian's client, because a
# newer one found first on PATH would need plugins that aren't installed.
export PATH="$E2E_CACHE/bin:$PATH"
# The machine may use a proxy for external hosts.
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

# /var/tmp: overlay2 needs a real file system, which /tmp often is not.
WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/orlop-e2e.XXXXXX")
# Clients keep credentials and settings in the home folder, so the scripts use another one. Rust's
# tools keep theirs.
export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
export HOME="$WORK/home" XDG_RUNTIME_DIR="$WORK/run"
mkdir -p "$HOME" "$XDG_RUNTIME_DIR"

SERVER_PID=
SERVER_ADDR=
SERVER_DATA="$WORK/data"
SERVER_LOG="$WORK/server.log"
CLEANUPS=()

# at_exit COMMAND: run when the script ends, last one first.
at_exit() { CLEANUPS+=("$1"); }

finish() {
    local code=$? i
    trap - EXIT INT TERM
    set +e
    if [ "$code" -ne 0 ]; then
        echo "FAILED (exit $code) at: ${STEP:-start}"
        if [ -s "$SERVER_LOG" ] && [ "$E2E_SERVER" = orlop ]; then
            echo "--- the server's last lines"
            tail -n 30 "$SERVER_LOG" | cut -c1-400
        fi
    fi
    for ((i = ${#CLEANUPS[@]} - 1; i >= 0; i--)); do eval "${CLEANUPS[$i]}"; done
    [ -n "$SERVER_PID" ] && kill -9 "$SERVER_PID" && wait "$SERVER_PID" 2>/dev/null
    if [ -n "${E2E_KEEP:-}" ]; then
        echo "kept: $WORK"
    else
        rm -rf --one-file-system "$WORK"
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# step TEXT: names the following commands, so that a failure names its step.
step() {
    STEP=$*
    echo "  - $*"
}

# fails COMMAND…: the command must fail.
fails() {
    if "$@" >"$WORK/fails.out" 2>&1; then
        echo "this should have failed: $*" >&2
        return 1
    fi
}

# same A B: two texts must be equal.
same() {
    if [ "$1" != "$2" ]; then
        echo "differ: '$1' and '$2'" >&2
        return 1
    fi
}

# within SECONDS COMMAND…: tries the command until it succeeds.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "did not succeed in time: $*" >&2
            return 1
        fi
        sleep 0.1
    done
}

free_port() {
    python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# status METHOD PATH [curl option…]: prints the status of the response.
status() {
    local method=$1 path=$2
    shift 2
    if [ "$method" = HEAD ]; then set -- --head "$@"; else set -- -X "$method" "$@"; fi
    curl -s -o /dev/null -w '%{http_code}' "$@" "http://$SERVER_ADDR$path"
}

server_ready() {
    local path=/readyz
    [ "$E2E_SERVER" = orlop ] || path=/v2/
    curl -fs -o /dev/null "http://$SERVER_ADDR$path"
}

# server_start [NAME=VALUE…]: starts the server on SERVER_ADDR (a free port the first time, the
# same one afterwards) over SERVER_DATA with these settings, and waits until it is ready.
server_start() {
    : "${SERVER_ADDR:=127.0.0.1:$(free_port)}"
    mkdir -p "$SERVER_DATA"
    case $E2E_SERVER in
        orlop)
            env "$@" "$E2E_BIN" serve --data "$SERVER_DATA" --listen "$SERVER_ADDR" \
                >>"$SERVER_LOG" 2>&1 </dev/null &
            ;;
        docker-registry)
            printf '%s\n' 'version: 0.1' \
                'log: {level: error, accesslog: {disabled: true}}' 'storage:' '  delete: {enabled: true}' \
                '  filesystem:' "    rootdirectory: $SERVER_DATA" \
                'http:' "  addr: $SERVER_ADDR" >"$WORK/registry.yml"
            docker-registry serve "$WORK/registry.yml" >>"$SERVER_LOG" 2>&1 </dev/null &
            ;;
        *) echo "E2E_SERVER: orlop or docker-registry" >&2 && return 1 ;;
    esac
    SERVER_PID=$!
    local deadline=$((SECONDS + 20))
    until server_ready; do
        if ! kill -0 "$SERVER_PID" 2>/dev/null; then
            SERVER_PID=
            echo "the server exited at once" >&2
            return 1
        fi
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "the server isn't ready after 20 s" >&2
            return 1
        fi
        sleep 0.05
    done
}

# server_stop: sends SIGTERM; the server must exit without an error.
server_stop() {
    local pid=$SERVER_PID code=0
    SERVER_PID=
    kill -TERM "$pid"
    local deadline=$((SECONDS + 60))
    while kill -0 "$pid" 2>/dev/null; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "the server does not exit on SIGTERM" >&2
            kill -9 "$pid"
        fi
        sleep 0.05
    done
    wait "$pid" || code=$?
    # distribution's registry doesn't catch SIGTERM.
    if [ "$code" -ne 0 ] && [ "$E2E_SERVER" = orlop ]; then
        echo "the server exited with $code on SIGTERM" >&2
        return 1
    fi
}

# store_is_sound: fsck must find no problem in the store.
store_is_sound() {
    [ "$E2E_SERVER" = orlop ] || return 0
    "$E2E_BIN" fsck --data "$SERVER_DATA"
}
