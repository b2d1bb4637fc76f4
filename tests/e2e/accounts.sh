#!/usr/bin/env bash
# Accounts: the first start, users with roles, teams, access tokens, and how the registry is closed. Docker logs in with a
# password, an access token and its refresh token. Revoked access ends at once.
. "$(dirname "$0")/lib.sh"
. "$E2E_DIR/engine.sh"

: "${SERVER_ADDR:=127.0.0.1:$(free_port)}"
engine_start
server_start
orlop() { "$E2E_BIN" --data "$SERVER_DATA" "$@"; }
login() { echo "$2" | docker login -u "$1" --password-stdin "$SERVER_ADDR" >/dev/null 2>&1; }
# pushes REPOSITORY: pushes an image. pulls REPOSITORY: pulls the existing image.
pushes() { docker tag kept:1 "$SERVER_ADDR/$1:1" && docker push -q "$SERVER_ADDR/$1:1" >/dev/null; }
pulls() {
    docker image rm -f "$SERVER_ADDR/$1:1" >/dev/null 2>&1
    docker pull -q "$SERVER_ADDR/$1:1" >/dev/null
}
password_of() { sed -n 's/^password: //p'; }

step "the first start prints the administrator's password, and anyone may push and pull"
admin=$(grep -A2 'The administrator of this registry is admin' "$SERVER_LOG" | tail -n 1 | tr -d ' ')
first="$SERVER_ADDR/open/app"
tiny_image "$first:1"
docker tag "$first:1" kept:1
docker push -q "$first:1" >/dev/null
same 200 "$(status GET /api/v1/repositories)"
same 401 "$(status GET /api/v1/accounts)"
same 200 "$(status GET /api/v1/accounts -u "admin:$admin")"
same 401 "$(status DELETE /api/v1/repositories/open%2Fapp)"
server_stop
server_start
same 1 "$(grep -c 'The administrator of this registry is admin' "$SERVER_LOG")"

step "creating the first user closes the registry"
ann=$(orlop user add ann --may push:team/ --may pull:base/ | password_of)
fails docker pull "$first:1"
same 401 "$(status GET /v2/)"

step "a user can do what their roles allow and nothing else"
fails login ann mistaken
login ann "$ann"
pushes team/app
pulls team/app
before=$SECONDS
fails pushes other/app
# Docker retries what it considers a temporary failure, which would take longer.
[ $((SECONDS - before)) -lt 20 ]
fails pulls open/app
fails pushes base/app
same 403 "$(status DELETE /v2/team/app/manifests/1 -u "ann:$ann")"
same team/app "$(curl -s -u "ann:$ann" "http://$SERVER_ADDR/v2/_catalog" | python3 -c 'import json, sys; print(*json.load(sys.stdin)["repositories"])')"
orlop can ann push team/app | grep -q 'ann has push on team/'
fails orlop can ann delete team/app

step "members have the roles of their team"
orlop org add acme >/dev/null
orlop org add-team acme/devs >/dev/null
orlop org grant acme/devs push acme/ >/dev/null
fails pushes acme/app
orlop org join acme/devs ann >/dev/null
pushes acme/app
orlop org leave acme/devs ann >/dev/null
fails pulls acme/app

step "an access token replaces the password, with fewer rights than its user, until it is revoked"
orlop token add ann --may pull:team/app --name laptop --expires 1d >"$WORK/token"
secret=$(grep '^orlop_' "$WORK/token")
login ann "$secret"
pulls team/app
fails pushes team/app
orlop token list ann | grep -q laptop
orlop token revoke "$(cut -d' ' -f2 <"$WORK/token" | head -n 1)" >/dev/null
fails pulls team/app

step "anyone pulls what @everybody may pull; Docker logs in and gets a refresh token"
orlop org grant @everybody pull public/ >/dev/null
orlop org grant ann push public/ >/dev/null
login ann "$ann"
grep -q identitytoken "$HOME/.docker/config.json"
pushes public/app
pushes team/app
docker logout "$SERVER_ADDR" >/dev/null
pulls public/app
fails pulls team/app

step "rotating the token key interrupts no push"
login ann "$ann"
for round in 1 2 3 4 5; do
    orlop token rotate-key --at-once >/dev/null
    pushes "team/round$round"
done

step "changing a password ends the tokens of the old one"
ann=$(orlop user password ann | password_of)
fails pulls team/app
login ann "$ann"
pulls team/app
orlop user disable ann >/dev/null
fails pulls team/app
orlop user enable ann >/dev/null
login ann "$ann"
pulls team/app
fails orlop user remove ann
pulls team/app

step "accounts are managed on a stopped store too"
docker logout "$SERVER_ADDR" >/dev/null
server_stop
orlop user add bob --may pull >"$WORK/bob"
orlop user remove ann >/dev/null
server_start ORLOP_AUTH__ADMIN_PASSWORD="another one"
same 401 "$(status GET /v2/_catalog -u "ann:$ann")"
same 200 "$(status GET /v2/_catalog -u "bob:$(password_of <"$WORK/bob")")"
same 200 "$(status GET /api/v1/accounts -u "admin:another one")"
same 401 "$(status GET /api/v1/accounts -u "admin:$admin")"

step "no secret is in the log"
for said in "$ann" "$secret" "another one"; do
    if grep -qF "$said" "$SERVER_LOG"; then exit 1; fi
done
