# shellcheck shell=bash
# Sourced after lib.sh: pushes to the server at SERVER_ADDR, and lists and reads everything in it.

crane() { command crane --insecure "$@"; }
skopeo() { command skopeo --policy "$WORK/policy.json" "$@"; }
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$WORK/policy.json"

# push LAYOUT:NAME REPOSITORY:TAG [OPTION…]: pushes from an OCI layout in the work folder, with all platforms.
push() {
    local from=oci:$WORK/$1 to=docker://$SERVER_ADDR/$2
    shift 2
    skopeo copy -q --all --dest-tls-verify=false "$@" "$from" "$to"
}

# digests: prints every tag of every repository with its digest.
digests() {
    local repo tag
    for repo in $(crane catalog "$SERVER_ADDR" | sort); do
        for tag in $(crane ls "$SERVER_ADDR/$repo" | sort); do
            echo "$repo:$tag $(crane digest "$SERVER_ADDR/$repo:$tag")"
        done
    done
}

# validate: reads every byte of every tag.
validate() {
    local tag
    for tag in $(digests | cut -d' ' -f1); do
        crane validate --remote "$SERVER_ADDR/$tag" >/dev/null
    done
}
