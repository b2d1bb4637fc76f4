#!/usr/bin/env bash
# Deleted images can be restored and Docker pulls them unchanged: after a delete, an expiry, an overwritten tag, a crash,
# and the deletion of a whole repository.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"

engine_start
server_start
repo="$SERVER_ADDR/team/app"
orlop() { "$E2E_BIN" --data "$SERVER_DATA" "$@"; }
crane() { command crane --insecure "$@"; }
push() { docker push -q "$1" >/dev/null; }
# digest_of REFERENCE: pulls the image completely, runs it and prints its digest.
digest_of() {
    docker image prune -af >/dev/null
    docker pull -q "$1" >/dev/null
    docker run --rm "$1" >"$WORK/said"
    docker inspect --format '{{index .RepoDigests 0}}' "$1" | cut -d@ -f2
}
gone() {
    docker image prune -af >/dev/null
    fails docker pull -q "$1"
}
# digest_gone DIGEST: Docker itself may still have the manifest for a while, so it is not asked.
digest_gone() { same 404 "$(status GET "/v2/team/app/manifests/$1")"; }

step "push two versions, the second over latest"
tiny_image tiny:1
mkdir "$WORK/context"
printf 'FROM tiny:1\nCOPY version /version\nCMD ["/bin/cat", "/version"]\n' >"$WORK/context/Dockerfile"
for version in v1 v2; do
    echo "$version" >"$WORK/context/version"
    docker build -q -t "$repo:$version" -t "$repo:latest" "$WORK/context" >/dev/null
    push "$repo:$version"
    push "$repo:latest"
done
v1=$(digest_of "$repo:v1")
v2=$(digest_of "$repo:latest")
same v2 "$(cat "$WORK/said")"

step "roll latest back, and forward again"
orlop tag rollback team/app:latest >/dev/null
same "$v1" "$(digest_of "$repo:latest")"
same v1 "$(cat "$WORK/said")"
orlop tag rollback team/app:latest --to "$v2" >/dev/null
same "$v2" "$(digest_of "$repo:latest")"
orlop tag history team/app:latest >"$WORK/history"
same 2 "$(grep -c ' rolled back ' "$WORK/history")"

step "delete a tag, and restore it"
crane delete "$repo:v1"
gone "$repo:v1"
orlop trash list team/app >"$WORK/trash"
grep -q 'team/app:v1$' "$WORK/trash"
orlop trash restore team/app:v1 >/dev/null
same "$v1" "$(digest_of "$repo:v1")"

step "delete a manifest with its tags, and restore both"
crane delete "$repo@$v2"
gone "$repo:latest"
digest_gone "$v2"
orlop trash restore "team/app@$v2" >/dev/null
same "$v2" "$(digest_of "$repo:latest")"
same "$v2" "$(digest_of "$repo:v2")"

step "let a policy expire a tag, kill the server, and restore"
cat >"$WORK/policy.toml" <<'POLICY'
[[policies]]
name = "old"
repositories = ["team/app"]
[[policies.rules]]
name = "first"
action = "expire"
tags = ["v1"]
POLICY
orlop retention set "$WORK/policy.toml" >/dev/null
orlop retention apply team/app >/dev/null
orlop retention remove old >/dev/null
kill -9 "$SERVER_PID"
wait "$SERVER_PID" 2>/dev/null || true
server_start
gone "$repo:v1"
digest_gone "$v1"
orlop tag history team/app:v1 >"$WORK/history"
grep -q ' expired ' "$WORK/history"
orlop trash restore team/app:v1 >/dev/null
same "$v1" "$(digest_of "$repo:v1")"
same v1 "$(cat "$WORK/said")"

step "kill the server right after a delete, and restore"
same 202 "$(status DELETE "/v2/team/app/manifests/$v2")"
kill -9 "$SERVER_PID"
wait "$SERVER_PID" 2>/dev/null || true
server_start
gone "$repo:latest"
orlop trash restore "team/app@$v2" >/dev/null
same "$v2" "$(digest_of "$repo:latest")"

step "delete the repository, and restore it"
fails orlop repo delete team/app
orlop repo delete team/app --yes >/dev/null
gone "$repo:latest"
same '{"repositories":[]}' "$(curl -fs "http://$SERVER_ADDR/v2/_catalog")"
orlop repo restore team/app >/dev/null
same "$v2" "$(digest_of "$repo:latest")"
same "$v1" "$(digest_of "$repo:v1")"

step "kill the server right after the deletion started: the next start finishes it, and it can be restored"
curl -fs --unix-socket "$SERVER_DATA/admin.sock" -X DELETE http://orlop/api/v1/repositories/team%2Fapp >/dev/null
kill -9 "$SERVER_PID"
wait "$SERVER_PID" 2>/dev/null || true
server_start
emptied() { same '{"repositories":[]}' "$(curl -fs "http://$SERVER_ADDR/v2/_catalog")"; }
within 20 emptied
orlop repo restore team/app >/dev/null
same "$v2" "$(digest_of "$repo:latest")"

step "rename it, and back"
orlop repo rename team/app team/moved >/dev/null
same "$v2" "$(digest_of "$SERVER_ADDR/team/moved:latest")"
gone "$repo:latest"
orlop repo rename team/moved team/app >/dev/null
same "$v2" "$(digest_of "$repo:latest")"

step "the same on a stopped store"
server_stop
orlop repo delete team/app --yes >/dev/null
orlop trash restore team/app >/dev/null
orlop tag rollback team/app:latest --to "$v1" >/dev/null
server_start
same "$v1" "$(digest_of "$repo:latest")"
same "$v2" "$(digest_of "$repo:v2")"

step "empty the trash: its images can not be restored"
crane delete "$repo@$v2"
fails orlop trash empty
orlop trash empty --yes >/dev/null
fails orlop trash restore "team/app@$v2"
gone "$repo:v2"
same "$v1" "$(digest_of "$repo:latest")"

server_stop
step "fsck"
store_is_sound
