#!/usr/bin/env bash
# Checks the server against the API's OpenAPI document: schemathesis sends requests that the document permits and many
# that it does not, first for resources that exist and then for anything.
. "$(dirname "$0")/lib.sh"

server_start ORLOP_API__CHANGES=anyone
python3 "$E2E_DIR/layout.py" "$WORK/layout"
reg=$SERVER_ADDR
regctl registry set --tls disabled "$reg"
api="http://$reg/api/v1"

step "fill the store: an image, an index, a referrer, many tags"
regctl image copy "ocidir://$WORK/layout:one" "$reg/library/app:latest" >/dev/null
regctl image copy "ocidir://$WORK/layout:multi" "$reg/team/deep/app:multi" >/dev/null
echo "an sbom" | regctl artifact put --artifact-type application/vnd.example.sbom \
    --subject "$reg/team/deep/app:multi" >/dev/null
index=$(regctl manifest head "$reg/team/deep/app:multi")
for number in $(seq 30); do
    curl -fs -X PUT -H 'Content-Type: application/json' -d "{\"digest\":\"$index\"}" \
        "$api/repositories/team%2Fdeep%2Fapp/tags/v$number" >/dev/null
done

# ask CONFIG OPTION…: runs schemathesis with a limited number of examples, which are the same each time.
ask() {
    local config=$1
    shift
    # No colours, and no folders next to the script.
    (cd "$WORK" && NO_COLOR=1 schemathesis --config-file "$config" run "$api/openapi.json" --seed 1 \
        --max-examples 60 --phases examples,coverage,fuzzing --workers 1 \
        --generation-database none --warnings off "$@") >"$WORK/schemathesis.out" 2>&1 || {
        tail -n 150 "$WORK/schemathesis.out"
        return 1
    }
    grep -A3 'Test cases:' "$WORK/schemathesis.out" || true
}

# Without the checks that require every permitted request to succeed, because a name may not exist.
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
checks+=,response_headers_conformance,negative_data_rejection

step "request existing resources"
printf '[parameters]\n"path.name" = "team/deep/app"\n"path.tag" = "multi"\n"path.digest" = "%s"\n' "$index" \
    >"$WORK/there.toml"
# Only GET: requests with unknown methods are sent with the slashes of a fixed name unescaped.
ask "$WORK/there.toml" --checks "$checks" --include-method GET

step "the command line reports the same"
same 31 "$("$E2E_BIN" --data "$SERVER_DATA" tags team/deep/app --json | grep -c '"name"')"

# It deletes resources that it has seen in lists.
step "request anything"
: >"$WORK/anything.toml"
ask "$WORK/anything.toml" --checks "$checks,unsupported_method,allow_header_conformance"

step "the command line reports the same with and without the server"
"$E2E_BIN" --data "$SERVER_DATA" repos >"$WORK/beside"
server_stop
"$E2E_BIN" --data "$SERVER_DATA" repos >"$WORK/without"
cmp "$WORK/beside" "$WORK/without"

step "fsck"
store_is_sound
