#!/usr/bin/env bash
# crane pushes, validates, tags, copies, mutates, indexes, lists and deletes.
. "$(dirname "$0")/lib.sh"

server_start
python3 "$E2E_DIR/layout.py" "$WORK/layout"
crane() { command crane --insecure "$@"; }
reg=$SERVER_ADDR
# crane pushes only layouts with one image, so skopeo extracts it.
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$WORK/policy.json"
pick() { skopeo --policy "$WORK/policy.json" copy -q --all "oci:$WORK/layout:$1" "oci:$WORK/$1:$1"; }
pick one
pick multi
# crane pushes index.json of a layout as it is, which would be an index of an index.
cp -r "$WORK/multi" "$WORK/nested"
sed -n 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/p' "$WORK/multi/index.json" >"$WORK/top"
cp "$WORK/multi/blobs/sha256/$(cat "$WORK/top")" "$WORK/multi/index.json"

step "push an image and validate every layer of it"
crane push "$WORK/one" "$reg/crane/app:1" >/dev/null 2>&1
crane validate --remote "$reg/crane/app:1" >/dev/null
digest=$(crane digest "$reg/crane/app:1")

step "push an index of an index"
crane push --index "$WORK/nested" "$reg/crane/nested:1" >/dev/null 2>&1
crane validate --remote "$reg/crane/nested:1" >/dev/null

step "push an index and validate it"
crane push --index "$WORK/multi" "$reg/crane/multi:1" >/dev/null 2>&1
crane validate --remote "$reg/crane/multi:1" >/dev/null
same arm64 "$(crane config --platform linux/arm64 "$reg/crane/multi:1" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["architecture"])')"

step "tag, list, catalog"
crane tag "$reg/crane/app:1" two 2>/dev/null
same "1 two" "$(crane ls "$reg/crane/app" | sort | xargs)"
same "crane/app crane/multi crane/nested" "$(crane catalog "$reg" | sort | xargs)"

step "copy to another repository (mounts), keeping the digest"
crane copy "$reg/crane/app:1" "$reg/crane/copy:1" 2>/dev/null
same "$digest" "$(crane digest "$reg/crane/copy:1")"
crane copy "$reg/crane/multi:1" "$reg/crane/copy:multi" 2>/dev/null
crane validate --remote "$reg/crane/copy:multi" >/dev/null

step "append a layer, and mutate labels and annotations"
mkdir "$WORK/added"
echo more >"$WORK/added/more"
tar -C "$WORK/added" -cf "$WORK/added.tar" more
crane append -b "$reg/crane/app:1" -f "$WORK/added.tar" -t "$reg/crane/app:appended" >/dev/null 2>&1
crane validate --remote "$reg/crane/app:appended" >/dev/null
crane mutate "$reg/crane/app:1" --label a=b --annotation c=d -t "$reg/crane/app:mutated" >/dev/null 2>&1
crane manifest "$reg/crane/app:mutated" >"$WORK/mutated"
grep -q '"c":"d"' "$WORK/mutated"

step "append to an index"
crane index append -m "$reg/crane/app:1" -m "$reg/crane/app:mutated" -t "$reg/crane/app:index" >/dev/null 2>&1
crane validate --remote "$reg/crane/app:index" >/dev/null

step "pull as a tarball and as a layout; one blob by digest"
crane pull "$reg/crane/app:1" "$WORK/app.tar"
crane validate --tarball "$WORK/app.tar" >/dev/null
crane pull --format oci "$reg/crane/multi:1" "$WORK/pulled"
layer=$(crane manifest "$reg/crane/app:1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["layers"][1]["digest"])')
same "$layer" "sha256:$(crane blob "$reg/crane/app@$layer" | sha256sum | cut -d' ' -f1)"
crane export "$reg/crane/app:1" - | tar -t >"$WORK/exported"
grep -q amd64 "$WORK/exported"

step "flatten"
crane flatten "$reg/crane/app:1" -t "$reg/crane/app:flat" >/dev/null 2>&1
crane validate --remote "$reg/crane/app:flat" >/dev/null

if [ "$E2E_SERVER" = orlop ]; then
    step "delete by tag removes only the tag"
    crane delete "$reg/crane/app:two"
    fails crane digest "$reg/crane/app:two"
    same "$digest" "$(crane digest "$reg/crane/app:1")"
    step "a child of a live index can't be deleted"
    fails crane delete "$reg/crane/app@$digest"
    crane delete "$reg/crane/app@$(crane digest "$reg/crane/app:index")"
fi
step "delete by digest removes all its tags"
crane delete "$reg/crane/app@$digest"
fails crane digest "$reg/crane/app:1"
crane validate --remote "$reg/crane/copy:1" >/dev/null
crane validate --remote "$reg/crane/app:mutated" >/dev/null

server_stop
step "fsck"
store_is_sound
