#!/usr/bin/env bash
# buildah builds from scratch, pushes, pulls, and pushes a manifest list of two platforms.
. "$(dirname "$0")/lib.sh"

server_start
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$WORK/policy.json"
# The whole store is in the work folder. The vfs driver needs nothing from the kernel.
export STORAGE_DRIVER=vfs
buildah() { command buildah --root "$WORK/storage" --runroot "$WORK/runroot" "$@"; }
push() { buildah push -q --signature-policy "$WORK/policy.json" --tls-verify=false "$@"; }
pull() { buildah pull -q --signature-policy "$WORK/policy.json" --tls-verify=false "$@"; }

step "build from scratch and push"
mkdir "$WORK/context"
cp /bin/busybox "$WORK/context/busybox"
cat >"$WORK/context/Containerfile" <<'CONTAINERFILE'
FROM scratch
COPY busybox /bin/sh
RUN echo built by buildah > /built
CMD ["/bin/sh", "-c", "read line < /built; echo $line"]
CONTAINERFILE
build() {
    buildah build -q --signature-policy "$WORK/policy.json" --isolation chroot --network host \
        --platform "$1" -t "$2" "$WORK/context" >/dev/null
}
build linux/amd64 "$SERVER_ADDR/buildah/app:1"
push "$SERVER_ADDR/buildah/app:1"

step "pull and run"
buildah rmi -a -f >/dev/null
pull "$SERVER_ADDR/buildah/app:1" >/dev/null
container=$(buildah from --pull-never "$SERVER_ADDR/buildah/app:1")
# shellcheck disable=SC2016 # the container's shell expands it
same "built by buildah" "$(buildah run --isolation chroot "$container" /bin/sh -c 'read l </built; echo $l')"
buildah rm "$container" >/dev/null

step "push as Docker schema 2, and pull by digest"
push --format v2s2 --digestfile "$WORK/digest" "$SERVER_ADDR/buildah/app:1" "docker://$SERVER_ADDR/buildah/app:v2s2"
buildah rmi -a -f >/dev/null
pull "$SERVER_ADDR/buildah/app@$(cat "$WORK/digest")" >/dev/null

step "push a manifest list with all its images"
sed -i '/^RUN/d' "$WORK/context/Containerfile"
buildah manifest create app-list >/dev/null
for arch in amd64 arm64; do
    build "linux/$arch" "app-$arch"
    buildah manifest add --arch "$arch" app-list "app-$arch" >/dev/null
done
buildah manifest push -q --all --signature-policy "$WORK/policy.json" --tls-verify=false \
    app-list "docker://$SERVER_ADDR/buildah/list:1" >/dev/null
curl -fs -H 'Accept: application/vnd.oci.image.index.v1+json' \
    -H 'Accept: application/vnd.docker.distribution.manifest.list.v2+json' \
    "http://$SERVER_ADDR/v2/buildah/list/manifests/1" >"$WORK/list"
same amd64,arm64 "$(python3 -c 'import json, sys
print(",".join(m["platform"]["architecture"] for m in json.load(open(sys.argv[1]))["manifests"]))' "$WORK/list")"
buildah rmi -a -f >/dev/null
pull --arch arm64 "$SERVER_ADDR/buildah/list:1" >/dev/null

server_stop
step "fsck"
store_is_sound
