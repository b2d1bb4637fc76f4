#!/usr/bin/env bash
# cosign signs, attests and attaches, in its own tags and as OCI 1.1 referrers, and verifies.
. "$(dirname "$0")/lib.sh"

server_start
python3 "$E2E_DIR/layout.py" "$WORK/layout"
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$WORK/policy.json"
reg=$SERVER_ADDR
export COSIGN_PASSWORD='' COSIGN_YES=true COSIGN_EXPERIMENTAL=1
http=(--allow-http-registry --allow-insecure-registry)
cd "$WORK"
# Prints the output of cosign only if it fails.
cosign() { command cosign "$@" >"$WORK/cosign.out" 2>&1 || { cat "$WORK/cosign.out"; return 1; }; }
cosign generate-key-pair

push() {
    skopeo --policy "$WORK/policy.json" copy -q --all --dest-tls-verify=false \
        --digestfile "$WORK/digest" "oci:$WORK/layout:$2" "docker://$reg/$1:1"
    image="$reg/$1@$(cat "$WORK/digest")"
}
tags() { curl -fs "http://$reg/v2/$1/tags/list" | grep -o "sha256-[^\"]*" | sort | xargs; }
referrers() {
    curl -fs "http://$reg/v2/$1/referrers/${image#*@}" | grep -o '"artifactType"' | wc -l
}

step "sign and verify, signatures in a tag"
push cosign/tags multi
cosign sign --key cosign.key --tlog-upload=false --recursive "${http[@]}" "$image"
cosign verify --key cosign.pub --insecure-ignore-tlog "${http[@]}" "$image"
tags cosign/tags >"$WORK/tags"
grep -q "sha256-${image#*@sha256:}.sig" "$WORK/tags"

step "sign again: appended to the same tag"
cosign sign --key cosign.key --tlog-upload=false -a round=two "${http[@]}" "$image"
cosign verify --key cosign.pub --insecure-ignore-tlog -a round=two "${http[@]}" "$image"

step "attest, attach and show the tree"
echo '{"spdxVersion": "SPDX-2.3"}' >"$WORK/sbom.json"
cosign attest --key cosign.key --tlog-upload=false --type spdxjson --predicate "$WORK/sbom.json" "${http[@]}" "$image"
cosign verify-attestation --key cosign.pub --insecure-ignore-tlog --type spdxjson "${http[@]}" "$image"
cosign attach sbom --sbom "$WORK/sbom.json" "${http[@]}" "$image"
cosign tree "${http[@]}" "$image"
grep -q Signatures "$WORK/cosign.out"
grep -q Attestations "$WORK/cosign.out"

step "copy the image with its signatures and attestations"
cosign copy "${http[@]}" "$reg/cosign/tags:1" "$reg/cosign/copied:1"
cosign verify --key cosign.pub --insecure-ignore-tlog "${http[@]}" "$reg/cosign/copied:1"

step "sign and verify, signatures as referrers"
push cosign/referrers one
cosign sign --key cosign.key --tlog-upload=false --registry-referrers-mode=oci-1-1 "${http[@]}" "$image"
cosign verify --key cosign.pub --insecure-ignore-tlog --experimental-oci11 "${http[@]}" "$image"
if [ "$E2E_SERVER" = orlop ]; then same 1 "$(referrers cosign/referrers)"; fi
cosign tree --registry-referrers-mode=oci-1-1 --experimental-oci11 "${http[@]}" "$image"

step "sign and verify, a bundle as a referrer"
push cosign/bundle one
cosign sign --key cosign.key --tlog-upload=false --new-bundle-format "${http[@]}" "$image"
# Without this root cosign would contact the public one.
cosign trusted-root create --out "$WORK/root.json"
cosign verify --key cosign.pub --insecure-ignore-tlog --new-bundle-format \
    --trusted-root "$WORK/root.json" "${http[@]}" "$image"
if [ "$E2E_SERVER" = orlop ]; then same 1 "$(referrers cosign/bundle)"; fi

step "a wrong key is rejected"
mv cosign.pub right.pub
rm cosign.key
cosign generate-key-pair
fails command cosign verify --key cosign.pub --insecure-ignore-tlog "${http[@]}" "$reg/cosign/tags:1"

step "clean"
cosign clean --force "${http[@]}" "$reg/cosign/tags:1"
fails command cosign verify --key right.pub --insecure-ignore-tlog "${http[@]}" "$reg/cosign/tags:1"

server_stop
step "fsck"
store_is_sound
