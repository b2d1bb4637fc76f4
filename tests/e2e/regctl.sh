#!/usr/bin/env bash
# regctl copies, tags, deletes, and stores artifacts that refer to images.
. "$(dirname "$0")/lib.sh"

server_start
python3 "$E2E_DIR/layout.py" "$WORK/layout"
reg=$SERVER_ADDR
regctl registry set --tls disabled "$reg"

step "copy an image and an index in"
regctl image copy "ocidir://$WORK/layout:one" "$reg/regctl/app:1" >/dev/null
regctl image copy "ocidir://$WORK/layout:multi" "$reg/regctl/app:multi" >/dev/null
digest=$(regctl manifest head "$reg/regctl/app:1")

step "copy between repositories, and a whole repository"
regctl image copy "$reg/regctl/app:multi" "$reg/regctl/copy:multi" >/dev/null
same "$(regctl manifest head "$reg/regctl/app:multi")" "$(regctl manifest head "$reg/regctl/copy:multi")"
regctl repo copy "$reg/regctl/app" "$reg/regctl/all" >/dev/null 2>&1
same "1 multi" "$(regctl tag ls "$reg/regctl/all" | sort | xargs)"

step "put and get blobs"
head -c 700000 /dev/urandom >"$WORK/blob"
blob=$(regctl blob put "$reg/regctl/app" <"$WORK/blob")
regctl blob get "$reg/regctl/app" "$blob" | cmp - "$WORK/blob"
regctl blob head "$reg/regctl/app" "$blob" >/dev/null

step "put an artifact, and artifacts with a subject"
echo "a chart" | regctl artifact put --artifact-type application/vnd.example.chart "$reg/regctl/app:chart" >/dev/null
same "a chart" "$(regctl artifact get "$reg/regctl/app:chart")"
for kind in sbom note; do
    echo "the $kind" | regctl artifact put --artifact-type "application/vnd.example.$kind" \
        --annotation "for=$kind" --subject "$reg/regctl/app:1" >/dev/null
done

step "list referrers, with a filter, and get one through its subject"
same 2 "$(regctl artifact list "$reg/regctl/app:1" --format '{{len .Descriptors}}')"
same 1 "$(regctl artifact list "$reg/regctl/app:1" \
    --filter-artifact-type application/vnd.example.sbom --format '{{len .Descriptors}}')"
same "the note" "$(regctl artifact get --subject "$reg/regctl/app:1" \
    --filter-artifact-type application/vnd.example.note)"
regctl artifact tree "$reg/regctl/app:1" >/dev/null
if [ "$E2E_SERVER" = orlop ]; then
    curl -fs "http://$reg/v2/regctl/app/referrers/$digest" >"$WORK/referrers"
    same 2 "$(python3 -c 'import json, sys
print(sum("for" in m["annotations"] for m in json.load(open(sys.argv[1]))["manifests"]))' "$WORK/referrers")"
    # The API answers, so nothing was pushed under the fallback tag.
    same "1 chart multi" "$(regctl tag ls "$reg/regctl/app" | sort | xargs)"
fi

step "copy with referrers"
regctl image copy --referrers "$reg/regctl/app:1" "$reg/regctl/signed:1" >/dev/null
same 2 "$(regctl artifact list "$reg/regctl/signed:1" --format '{{len .Descriptors}}')"

step "create an index, modify an image, check its base"
regctl index create "$reg/regctl/app:index" --ref "$reg/regctl/app:1" --ref "$reg/regctl/app:multi" \
    --platform linux/amd64 >/dev/null
regctl manifest get "$reg/regctl/app:index" >/dev/null
regctl image mod "$reg/regctl/app:1" --create modified --label x=y \
    --annotation-base "$reg/regctl/app:1,$digest" >/dev/null
regctl image check-base "$reg/regctl/app:modified" >/dev/null
regctl image copy "$reg/regctl/app:modified" "ocidir://$WORK/out:modified" >/dev/null
regctl image inspect "$reg/regctl/app:modified" >"$WORK/inspect"
grep -q '"x": "y"' "$WORK/inspect"

if [ "$E2E_SERVER" = orlop ]; then
    step "sha512 digests"
    regctl image mod "$reg/regctl/app:1" --create sha512 --digest-algo sha512 >/dev/null
    regctl image copy "$reg/regctl/app:sha512" "ocidir://$WORK/sha512:1" >/dev/null
fi

step "export and import"
regctl image export "$reg/regctl/app:1" "$WORK/export.tar"
regctl image import "$reg/regctl/imported:1" "$WORK/export.tar" >/dev/null
same "$digest" "$(regctl manifest head "$reg/regctl/imported:1")"

step "list repositories"
regctl repo ls "$reg" >"$WORK/repos"
grep -qx regctl/copy "$WORK/repos"

step "delete a tag: the manifest stays"
regctl image copy "$reg/regctl/app:1" "$reg/regctl/app:gone" >/dev/null
regctl tag delete "$reg/regctl/app:gone"
fails regctl manifest head "$reg/regctl/app:gone"
same "$digest" "$(regctl manifest head "$reg/regctl/app:1")"

step "delete by digest: the tags are deleted too"
copied=$(regctl manifest head "$reg/regctl/copy:multi")
regctl manifest delete "$reg/regctl/copy@$copied"
fails regctl manifest head "$reg/regctl/copy:multi"

server_stop
step "fsck"
store_is_sound
