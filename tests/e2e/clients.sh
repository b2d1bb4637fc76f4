#!/usr/bin/env bash
# Each client logs in, pushes, pulls and logs out, also with a wrong password and without a password, against a registry
# that requires passwords (Basic) and one with public and private images on one host (Bearer).
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"
. "$E2E_DIR/users.sh"

host=$SERVER_ADDR
policy=(--signature-policy "$WORK/policy.json")
export WORK COSIGN_PASSWORD='' COSIGN_YES=true
regctl registry set --skip-check --tls disabled "$host"
skopeo --policy "$WORK/policy.json" copy -q "oci:$WORK/layout:one" "docker-archive:$WORK/one.tar:source:1"

# Each client has four functions: `in PASSWORD`, `out`, `push REPOSITORY` and `pull REPOSITORY`, which downloads
# everything again.

# Docker stores passwords with a credential helper, as on laptops, and not in its configuration. So do crane and cosign.
cat >"$WORK/bin/docker-credential-kept" <<'HELPER'
#!/usr/bin/env python3
import json, os, sys
path = os.environ["WORK"] + "/kept.json"
kept = json.load(open(path)) if os.path.exists(path) else {}
said = sys.stdin.read()
if sys.argv[1] == "store":
    entry = json.loads(said)
    kept[entry["ServerURL"]] = entry
elif sys.argv[1] == "erase":
    kept.pop(said.strip(), None)
elif sys.argv[1] == "get" and said.strip() in kept:
    print(json.dumps(kept[said.strip()]))
elif sys.argv[1] == "get":
    print("credentials not found in native keychain")
    sys.exit(1)
json.dump(kept, open(path, "w"))
HELPER
chmod +x "$WORK/bin/docker-credential-kept"
docker_in() {
    mkdir -p "$HOME/.docker"
    echo '{"credsStore": "kept"}' >"$HOME/.docker/config.json"
    echo "$1" | docker login -u ann --password-stdin "$host" || return
    # If the registry issues tokens, Docker stores a refresh token and no password.
    grep -qE '"Secret": "(secret|orlop_[^"]+)"' "$WORK/kept.json" || return
    if grep -q '"auth"' "$HOME/.docker/config.json"; then return 1; fi
}
docker_out() {
    docker logout "$host" && same '{}' "$(cat "$WORK/kept.json")"
}
docker_push() {
    docker load -q -i "$WORK/one.tar"
    docker tag source:1 "$host/$1:1" && docker push "$host/$1:1"
}
docker_pull() {
    docker image prune -af
    docker pull "$host/$1:1"
}

# Podman and buildah store everything in the work folder. The vfs driver needs nothing from the kernel.
podman_() {
    podman --root "$WORK/store" --runroot "$WORK/runroot" --storage-driver=vfs --cgroup-manager=cgroupfs \
        --events-backend=file "$@"
}
podman_in() { echo "$1" | podman_ login --tls-verify=false -u ann --password-stdin "$host"; }
podman_out() { podman_ logout "$host"; }
podman_push() {
    podman_ load "${policy[@]}" -i "$WORK/one.tar" &&
        podman_ push "${policy[@]}" --tls-verify=false source:1 "docker://$host/$1:1"
}
podman_pull() {
    podman_ rmi -a -f && podman_ pull "${policy[@]}" --tls-verify=false "$host/$1:1"
}

buildah_() { buildah --root "$WORK/store" --runroot "$WORK/runroot" --storage-driver=vfs "$@"; }
buildah_in() { echo "$1" | buildah_ login --tls-verify=false -u ann --password-stdin "$host"; }
buildah_out() { buildah_ logout "$host"; }
buildah_push() {
    buildah_ pull "${policy[@]}" "docker-archive:$WORK/one.tar" &&
        buildah_ push "${policy[@]}" --tls-verify=false source:1 "docker://$host/$1:1"
}
buildah_pull() {
    buildah_ rmi -a -f && buildah_ pull "${policy[@]}" --tls-verify=false "$host/$1:1"
}

copy() { skopeo --policy "$WORK/policy.json" copy "$@"; }
skopeo_in() { echo "$1" | skopeo login --tls-verify=false -u ann --password-stdin "$host"; }
skopeo_out() { skopeo logout "$host"; }
skopeo_push() { copy --dest-tls-verify=false "oci:$WORK/layout:one" "docker://$host/$1:1"; }
skopeo_pull() {
    rm -rf "$WORK/pulled"
    copy --src-tls-verify=false "docker://$host/$1:1" "oci:$WORK/pulled:one"
}

# crane and cosign log in without a request to the registry.
crane_in() { echo "$1" | crane auth login "$host" -u ann --password-stdin; }
crane_out() { crane auth logout "$host"; }
crane_push() { crane push --insecure "$WORK/one.tar" "$host/$1:1"; }
crane_pull() { crane pull --insecure "$host/$1:1" "$WORK/pulled.tar"; }

regctl_in() { echo "$1" | regctl registry login "$host" -u ann --pass-stdin; }
regctl_out() { regctl registry logout "$host"; }
regctl_push() { regctl image copy "ocidir://$WORK/layout:one" "$host/$1:1"; }
regctl_pull() {
    rm -rf "$WORK/pulled"
    regctl image copy "$host/$1:1" "ocidir://$WORK/pulled:one"
}

# cosign only pushes and pulls signatures. skopeo pushes the image.
(cd "$WORK" && cosign generate-key-pair >"$WORK/cosign.out" 2>&1)
cosign_in() { echo "$1" | cosign login "$host" -u ann --password-stdin; }
cosign_out() { crane auth logout "$host"; }
cosign_push() {
    copy -q --dest-tls-verify=false --dest-creds ann:secret --digestfile "$WORK/digest" \
        "oci:$WORK/layout:one" "docker://$host/$1:1" &&
        cosign sign --key "$WORK/cosign.key" --tlog-upload=false --allow-http-registry \
            "$host/$1@$(cat "$WORK/digest")"
}
cosign_pull() {
    cosign verify --key "$WORK/cosign.pub" --insecure-ignore-tlog --allow-http-registry "$host/$1:1"
}

mkdir -p "$WORK/chart"
printf '%s\n' 'apiVersion: v2' 'name: chart' 'version: 1.0.0' >"$WORK/chart/Chart.yaml"
helm package "$WORK/chart" -d "$WORK" >/dev/null
helm_in() { echo "$1" | helm registry login "$host" --plain-http -u ann --password-stdin; }
helm_out() { helm registry logout "$host"; }
helm_push() { helm push "$WORK/chart-1.0.0.tgz" "oci://$host/$1" --plain-http; }
helm_pull() {
    rm -rf "$WORK/pulled"
    mkdir "$WORK/pulled"
    helm pull "oci://$host/$1/chart" --version 1.0.0 --plain-http -d "$WORK/pulled"
}

# works COMMAND…: the command must succeed. Its output is shown only if it fails.
works() {
    if ! "$@" >"$WORK/works.out" 2>&1; then
        echo "this should have worked: $*" >&2
        tail -n 20 "$WORK/works.out" >&2
        return 1
    fi
}

# denied COMMAND…: the command must fail because of missing access.
denied() {
    fails "$@"
    if ! grep -Eqi 'unauthorized|401|denied|credential|authentication required|invalid username/password' "$WORK/fails.out"; then
        echo "this failed for another reason: $*" >&2
        tail -n 20 "$WORK/fails.out" >&2
        return 1
    fi
}

wrong() { "$1_in" mistaken && "$1_pull" "team/$1"; }

# try CLIENT: runs all checks of a client in the current mode.
try() {
    local client=$1
    works "${client}_in" secret
    for repo in team public; do
        works "${client}_push" "$repo/$client"
        works "${client}_pull" "$repo/$client"
    done
    works "${client}_out"
    denied "${client}_pull" "team/$client"
    # New names: crane does not push an image that exists already.
    denied "${client}_push" "team/new-$client"
    denied "${client}_push" "public/new-$client"
    if [ "$mode" = Bearer ]; then
        works "${client}_pull" "public/$client"
    else
        denied "${client}_pull" "public/$client"
    fi
    denied wrong "$client"
    "${client}_out" >"$WORK/works.out" 2>&1 || true
    denied "${client}_pull" "team/$client"
}

for mode in Basic Bearer; do
    settings=(ORLOP_AUTH__HTPASSWD="$users")
    [ "$mode" = Basic ] || settings+=(ORLOP_AUTH__PUBLIC='["public/**"]')
    rm -rf "$SERVER_DATA"
    for client in docker podman buildah skopeo crane regctl cosign helm; do
        step "$client by $mode"
        # A new server has recorded no failed logins of the previous client.
        server_start "${settings[@]}"
        try "$client"
        server_stop
    done
    store_is_sound
done

step "no password is in the log"
fails grep -q 'secret\|mistaken' "$SERVER_LOG"
