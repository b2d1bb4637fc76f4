#!/usr/bin/env bash
# skopeo copies images and indexes in, between repositories and out, inspects, syncs and deletes.
. "$(dirname "$0")/lib.sh"

server_start
python3 "$E2E_DIR/layout.py" "$WORK/layout"
src="oci:$WORK/layout"
dst="docker://$SERVER_ADDR"
# The host's own rules for names and signatures are not under test.
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$WORK/policy.json"
copy() { skopeo --policy "$WORK/policy.json" copy -q --src-tls-verify=false --dest-tls-verify=false "$@"; }
digest_of() { skopeo inspect --tls-verify=false --raw "$1" | sha256sum | cut -d' ' -f1; }
in_layout() {
    python3 -c 'import json, sys
for entry in json.load(open(sys.argv[1] + "/index.json"))["manifests"]:
    if entry["annotations"]["org.opencontainers.image.ref.name"] == sys.argv[2]:
        print(entry["digest"].split(":")[1])' "$1" "$2"
}

step "copy an OCI image in, byte for byte"
copy "$src:one" "$dst/skopeo/one:1"
same "$(in_layout "$WORK/layout" one)" "$(digest_of "$dst/skopeo/one:1")"

step "copy an index with all its images"
copy --all "$src:multi" "$dst/skopeo/multi:1"
same "$(in_layout "$WORK/layout" multi)" "$(digest_of "$dst/skopeo/multi:1")"

step "inspect, by tag and by digest"
skopeo inspect --tls-verify=false "$dst/skopeo/one:1" >"$WORK/inspect"
grep -q '"for": "amd64"' "$WORK/inspect"
skopeo inspect --tls-verify=false --config "$dst/skopeo/one@sha256:$(in_layout "$WORK/layout" one)" >"$WORK/config"
grep -q '"architecture": *"amd64"' "$WORK/config"

step "copy as Docker schema 2, through a docker-archive"
copy "$src:one" "docker-archive:$WORK/archive.tar:skopeo/archive:1"
copy "docker-archive:$WORK/archive.tar" "$dst/skopeo/archive:1"
skopeo inspect --tls-verify=false --raw "$dst/skopeo/archive:1" >"$WORK/raw"
grep -q 'vnd.docker.distribution.manifest.v2+json' "$WORK/raw"

step "copy between repositories, keeping digests"
copy --all --preserve-digests "$dst/skopeo/multi:1" "$dst/skopeo/copied:1"
same "$(in_layout "$WORK/layout" multi)" "$(digest_of "$dst/skopeo/copied:1")"

step "list tags"
copy "$src:one" "$dst/skopeo/one:2"
skopeo list-tags --tls-verify=false "$dst/skopeo/one" >"$WORK/tags"
same 1,2 "$(python3 -c 'import json, sys; print(",".join(sorted(json.load(open(sys.argv[1]))["Tags"])))' "$WORK/tags")"

step "copy out, and compare every blob"
copy --all "$dst/skopeo/multi:1" "oci:$WORK/out:multi"
same "$(in_layout "$WORK/layout" multi)" "$(in_layout "$WORK/out" multi)"
for blob in "$WORK"/out/blobs/sha256/*; do
    same "$(basename "$blob")" "$(sha256sum "$blob" | cut -d' ' -f1)"
done

step "sync a repository to a folder and back under another name"
sync() { skopeo --policy "$WORK/policy.json" sync --src-tls-verify=false --dest-tls-verify=false "$@" >"$WORK/sync.log" 2>&1; }
sync --src docker --dest dir "$SERVER_ADDR/skopeo/one" "$WORK/synced"
sync --src dir --dest docker "$WORK/synced" "$SERVER_ADDR/synced"
same "$(in_layout "$WORK/layout" one)" "$(digest_of "$dst/synced/one:2")"

step "delete"
skopeo --policy "$WORK/policy.json" delete --tls-verify=false "$dst/skopeo/copied:1"
fails skopeo inspect --tls-verify=false "$dst/skopeo/copied:1"
copy --all "$dst/skopeo/multi:1" "oci:$WORK/again:multi"

server_stop
step "fsck"
store_is_sound
