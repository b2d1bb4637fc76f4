#!/usr/bin/env bash
# Takes over the tree of Debian's docker-registry: every tag has the same digest, the old registry can be started again,
# damage heals, nothing expires before the release, and a command that is killed can be run again.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/contents.sh"
. "$E2E_DIR/engine.sh"

OLD=$WORK/old
orlop() { "$E2E_BIN" --data "$OLD/orlop" "$@"; }
old_start() { E2E_SERVER=docker-registry SERVER_DATA=$OLD server_start; }
old_stop() { E2E_SERVER=docker-registry server_stop; }
new_start() { SERVER_DATA=$OLD/orlop server_start "$@"; }
data_of() { echo "$OLD/docker/registry/v2/blobs/sha256/${1:7:2}/${1:7}/data"; }

engine_start
step "fill the old registry: images, an index, a referrer, schema 2, nested names, dirt"
python3 "$E2E_DIR/layout.py" "$WORK/layout"
python3 "$E2E_DIR/layout.py" "$WORK/other" 1 100000
old_start
push layout:one app:1
push other:one app:2
push layout:one app:moving
sleep 1.1
push other:one app:moving
push layout:multi app/multi:1
push layout:one team/deep/er:docker --format v2s2
tiny_image "$SERVER_ADDR/team/tiny:1"
docker push -q "$SERVER_ADDR/team/tiny:1" >/dev/null
python3 "$E2E_DIR/layout.py" "$WORK/gone" 1 50000
push gone:one gone:1
crane delete "$SERVER_ADDR/gone@$(crane digest "$SERVER_ADDR/gone:1")"
regctl registry set --tls disabled "$SERVER_ADDR" 2>/dev/null
regctl artifact put --subject "$SERVER_ADDR/app:1" --artifact-type application/x.test <<<"signed" >/dev/null
curl -fs -o /dev/null -X POST "http://$SERVER_ADDR/v2/app/blobs/uploads/"
digests >"$WORK/expected"
old_stop
docker-registry garbage-collect "$WORK/registry.yml" >/dev/null 2>&1
printf '' >"$(find "$OLD" -path '*gone*' -path '*_layers*' -name link | head -n 1)"
# tree: prints every file of the old tree with its mode, owner and content.
tree() { (cd "$OLD" && find docker -type f -printf '%p %m %U:%G %s\n' -exec sha256sum {} \; | sort); }
tree >"$WORK/tree"

step "plan, which changes nothing"
"$E2E_BIN" adopt "$OLD" --plan | tee "$WORK/plan"
grep -q 'would be adopted' "$WORK/plan"
fails test -e "$OLD/orlop"

step "serve does not start empty there"
fails timeout 20 env ORLOP_STORAGE__OLD_REGISTRY="$OLD" "$E2E_BIN" serve --data "$WORK/empty" --listen 127.0.0.1:0
grep -q "orlop adopt $OLD" "$WORK/fails.out"

step "adopt, twice: the second run finds nothing new"
"$E2E_BIN" adopt "$OLD" | tee "$WORK/adopted"
"$E2E_BIN" adopt "$OLD" --json >"$WORK/second.json"
python3 - "$WORK/second.json" <<'PYTHON'
import json, sys
report = json.load(open(sys.argv[1]))
assert [report[key] for key in ("blobs", "manifests", "tags", "moved_tags")] == [0, 0, 0, 0], report
PYTHON
tree | diff "$WORK/tree" -

step "every tag has the same digest, and every byte can be pulled"
new_start
digests | diff "$WORK/expected" -
validate
docker rmi -f "$SERVER_ADDR/team/tiny:1" >/dev/null
for image in app:1 app:2 app:moving app/multi:1 team/deep/er:docker team/tiny:1; do
    docker pull -q "$SERVER_ADDR/$image" >/dev/null
    digest=$(awk -v image="$image" '$1 == image { print $2 }' "$WORK/expected")
    docker inspect --format '{{.RepoDigests}}' "$SERVER_ADDR/$image" | grep -q "@$digest"
done
regctl artifact list "$SERVER_ADDR/app:1" | grep -q application/x.test
orlop tag history app:moving | tee "$WORK/history" >/dev/null
same 2 "$(grep -c 'sha256:' "$WORK/history")"
orlop fsck
server_stop

step "the old registry still serves all, and what it gets is adopted by the next run"
old_start
digests | diff "$WORK/expected" -
validate
push gone:one late:1
old_stop
"$E2E_BIN" adopt "$OLD" | tee "$WORK/third" >/dev/null
grep -q '^1 tag, 1 manifest' "$WORK/third"

step "a flipped bit in an adopted layer: pulls fail, and the next push heals it"
python3 "$E2E_DIR/layout.py" "$WORK/rot" 1 700000
old_start
push rot:one rot:1
old_stop
layer=$(python3 -c 'import json,sys
root = sys.argv[1]; blob = lambda d: json.load(open(f"{root}/blobs/sha256/" + d.split(":")[1]))
index = json.load(open(f"{root}/index.json")); one = next(m for m in index["manifests"] if m["annotations"]["org.opencontainers.image.ref.name"] == "one")
print(blob(one["digest"])["layers"][-1]["digest"])' "$WORK/rot")
python3 -c 'import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(1000); byte = file.read(1); file.seek(1000); file.write(bytes([byte[0] ^ 1]))' "$(data_of "$layer")"
ORLOP_SCRUB__PERIOD=off "$E2E_BIN" adopt "$OLD" >/dev/null
new_start ORLOP_SCRUB__PERIOD=off
fails crane validate --remote "$SERVER_ADDR/rot:1"
push rot:one healed/rot:1
crane validate --remote "$SERVER_ADDR/healed/rot:1" >/dev/null
crane validate --remote "$SERVER_ADDR/rot:1" >/dev/null
orlop events --json | grep -q 'blob-healed'
server_stop

step "nothing adopted expires before the release"
export ORLOP_RETENTION__POLICIES='[{ name = "all", repositories = ["**"], rules = [{ name = "gone", action = "expire", tags = ["*"] }, { name = "kept", action = "keep", tags = ["kept"] }] }]'
new_start ORLOP_GC__INTERVAL=200ms ORLOP_RETENTION__INTERVAL=200ms
sleep 3
digests | grep -v -e '^late:' -e '^rot:' -e '^healed' | diff "$WORK/expected" -
orlop adopt "$OLD" --release --yes | tee "$WORK/release" >/dev/null
grep -q 'would expire' "$WORK/release"
gone() { [ -z "$(digests)" ]; }
within 90 gone
server_stop
unset ORLOP_RETENTION__POLICIES

step "kill -9 at any moment, and run it again: the same result"
SERVER_DATA=$WORK/kill/empty SERVER_ADDR='' server_start
server_stop
python3 "$E2E_DIR/adopt_killed.py" "$E2E_BIN" "$OLD" "$WORK/kill" "${E2E_ADOPT_ROUNDS:-5}"

step "finish: the old tree is removed, and everything is still there"
rm -rf "$OLD/orlop"
"$E2E_BIN" adopt "$OLD" >/dev/null
fails "$E2E_BIN" adopt "$OLD" --finish --yes
grep -q "$layer: its bytes are damaged or can't be read" "$WORK/fails.out"
new_start
push rot:one healed/rot:1
server_stop
"$E2E_BIN" adopt "$OLD" --finish --yes | tee "$WORK/finished"
fails test -e "$OLD/docker"
new_start
digests | grep -v -e '^late:' -e '^rot:' -e '^healed' | diff "$WORK/expected" -
validate
orlop fsck
