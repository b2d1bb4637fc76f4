#!/usr/bin/env bash
# The way back from orlop: what it exports, Debian's docker-registry serves, every tag with the same digest.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/contents.sh"

orlop() { "$E2E_BIN" --data "$SERVER_DATA" "$@"; }
# serve NAME DATA: starts a server of this kind over this folder, at a port of its own.
serve() {
    E2E_SERVER=$1 SERVER_DATA=$2 SERVER_ADDR=
    server_start
}

step "push images, an index, nested names and a tag that moves"
serve orlop "$WORK/data"
python3 "$E2E_DIR/layout.py" "$WORK/layout"
python3 "$E2E_DIR/layout.py" "$WORK/other" 1 100000
push layout:one app:1
push layout:multi app/multi:1
push layout:multi app-1/deep/er:1
push other:one app:2
push layout:one app:latest
push other:one app:latest
digest=$(crane digest "$SERVER_ADDR/app:1")
regctl registry set --tls disabled "$SERVER_ADDR" 2>/dev/null
regctl artifact put --subject "$SERVER_ADDR/app:1" --artifact-type application/x.test <<<"signed" >/dev/null
same 5 "$(digests | wc -l)"

step "export while the server runs, and again after another push"
orlop export --layout distribution "$WORK/tree" >/dev/null
push layout:one app/late:1
orlop export --layout distribution "$WORK/tree" >"$WORK/second"
grep -q ' 0 (0 B) copied now$' "$WORK/second"
digests >"$WORK/expected"
grep -q "^app:1 $digest\$" "$WORK/expected"
server_stop
store_is_sound >/dev/null

step "docker-registry serves every tag with the same digest"
serve docker-registry "$WORK/tree"
digests >"$WORK/served"
diff "$WORK/expected" "$WORK/served"
validate

step "docker-registry accepts pushes and deletes, and collects its garbage; the store stays sound"
push layout:one pushed:1
crane delete "$SERVER_ADDR/app@$(crane digest "$SERVER_ADDR/app:2")"
server_stop
docker-registry garbage-collect --delete-untagged "$WORK/registry.yml" >/dev/null 2>&1
orlop_data=$WORK/data
"$E2E_BIN" fsck --data "$orlop_data" >/dev/null

step "the next export restores what was deleted there, and keeps what was pushed there"
"$E2E_BIN" export --data "$orlop_data" --layout distribution "$WORK/tree" >/dev/null
serve docker-registry "$WORK/tree"
digests | grep -v '^pushed:1 ' | diff "$WORK/expected" -
digests | grep -q '^pushed:1 '
validate
server_stop

step "OCI layouts: skopeo reads them"
"$E2E_BIN" export --data "$orlop_data" --layout oci "$WORK/layouts" --repo app --repo app/multi >/dev/null
same "$digest" "$(skopeo inspect --format '{{.Digest}}' "oci:$WORK/layouts/app:1")"
skopeo copy -q --all "oci:$WORK/layouts/app/multi:1" "oci:$WORK/again:1"
