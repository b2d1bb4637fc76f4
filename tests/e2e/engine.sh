# shellcheck shell=bash
# Sourced after lib.sh: starts Debian's Docker engine with all its files in the work folder, so that it
# doesn't interfere with another engine on the machine.
#
# It publishes ports through its proxy process and sets no firewall rules, which not every CI kernel
# supports.

# Debian's client controls this engine's BuildKit. `docker build` of a newer client needs a plugin that
# Debian doesn't ship.
mkdir -p "$WORK/bin"
cat >"$WORK/bin/docker" <<'SHIM'
#!/bin/sh
# `docker compose` is a plugin that Debian doesn't ship. docker-compose 1.29 takes the same arguments.
if [ "$1" = compose ]; then
    shift
    exec /usr/bin/docker-compose "$@"
fi
exec /usr/bin/docker "$@"
SHIM
chmod +x "$WORK/bin/docker"
export PATH="$WORK/bin:$PATH"
export DOCKER_HOST="unix://$WORK/docker.sock" DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1
ENGINE_PID=

# A host name other than localhost, known only to the engine (see engine_start).
ENGINE_NAME=registry.orlop.example
# Another one, which the engine contacts over TLS.
ENGINE_TLS_NAME=tls.orlop.example

# engine_start: starts dockerd, which may use plain HTTP for ENGINE_NAME at the server's port.
engine_start() {
    : "${SERVER_ADDR:=127.0.0.1:$(free_port)}"
    printf '127.0.0.1 localhost %s %s\n' "$ENGINE_NAME" "$ENGINE_TLS_NAME" >"$WORK/hosts"
    # In its own mount namespace dockerd sees our hosts file, and its mounts end with it.
    echo '{}' >"$WORK/docker.json"
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --mount --propagation private sh -c '
        mount --bind "$0" /etc/hosts && exec dockerd "$@"' "$WORK/hosts" \
        --config-file "$WORK/docker.json" \
        --storage-driver=overlay2 --data-root="$WORK/docker" --exec-root="$WORK/docker-exec" \
        --pidfile="$WORK/docker.pid" --host="$DOCKER_HOST" \
        --iptables=false --ip6tables=false \
        --insecure-registry="$ENGINE_NAME:${SERVER_ADDR##*:}" \
        >"$WORK/docker.log" 2>&1 </dev/null &
    ENGINE_PID=$!
    at_exit engine_stop
    local deadline=$((SECONDS + 60))
    until docker version >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "$ENGINE_PID" 2>/dev/null; then
            echo "the engine doesn't start" >&2
            tail -n 40 "$WORK/docker.log" >&2
            return 1
        fi
        sleep 0.2
    done
}

engine_stop() {
    [ -n "$ENGINE_PID" ] || return 0
    local containers
    containers=$(docker ps -q 2>/dev/null)
    # shellcheck disable=SC2086 # one word per container
    [ -z "$containers" ] || docker kill $containers >/dev/null 2>&1
    kill "$ENGINE_PID" 2>/dev/null
    wait "$ENGINE_PID" 2>/dev/null
    ENGINE_PID=
}

# tiny_image NAME: creates an image with a static busybox, without pulling anything.
tiny_image() {
    local root="$WORK/tiny"
    mkdir -p "$root/bin" "$root/etc" "$root/tmp"
    cp /bin/busybox "$root/bin/busybox"
    for applet in sh cat echo ls sha256sum sleep true; do ln -sf busybox "$root/bin/$applet"; done
    tar -C "$root" -c . | docker import --change 'CMD ["/bin/sh"]' - "$1" >/dev/null
}
