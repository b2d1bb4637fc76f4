//! Tests of parsing paths.

use proptest::prelude::*;

use super::*;
use crate::oci::{Algorithm, Tag};

fn parse(path: &str) -> Endpoint {
    Endpoint::parse(path).expect(path)
}

fn fails(path: &str) -> PathError {
    Endpoint::parse(path).expect_err(path)
}

fn name(text: &str) -> RepoName {
    text.parse().expect("name")
}

#[test]
fn base_and_uploads_accept_a_missing_final_slash() {
    assert_eq!(parse("/v2"), Endpoint::Base);
    assert_eq!(parse("/v2/"), Endpoint::Base);
    assert_eq!(parse("/v2/a/b/blobs/uploads"), Endpoint::Uploads { name: name("a/b") });
    assert_eq!(parse("/v2/a/b/blobs/uploads/"), Endpoint::Uploads { name: name("a/b") });
}

#[test]
fn end_of_the_path_decides() {
    assert_eq!(parse("/v2/blobs/uploads/tags/list"), Endpoint::Tags { name: name("blobs/uploads") });
    assert_eq!(
        parse("/v2/a/blobs/uploads/blobs/uploads/"),
        Endpoint::Uploads { name: name("a/blobs/uploads") }
    );
    let latest = Reference::Tag("uploads".parse().expect("tag"));
    let manifest = Endpoint::Manifest { name: name("a/manifests/tags"), reference: latest };
    assert_eq!(parse("/v2/a/manifests/tags/manifests/uploads"), manifest);
}

#[test]
fn decodes_percent_encoding_once() {
    let hex = "0a".repeat(32);
    let digest = format!("sha256:{hex}").parse().expect("digest");
    assert_eq!(parse(&format!("/v2/a/blobs/sha256%3A{hex}")), Endpoint::Blob { name: name("a"), digest });
    assert!(matches!(fails("/v2/%2561/tags/list"), PathError::Name(_)));
    assert!(matches!(fails("/v2/%ff/tags/list"), PathError::Name(_)));
    assert!(matches!(fails("/v2/a/manifests/x%00"), PathError::Tag(_)));
}

#[test]
fn error_names_the_invalid_part() {
    for path in ["", "/", "/v1/", "/v20", "/v2/a", "/v2/tags/list", "/v2/a/tags/list/", "/v2/a/tags", "/v2//"]
    {
        assert_eq!(fails(path), PathError::NotFound, "{path}");
    }
    for path in ["/v2/A/tags/list", "/v2/a//blobs/uploads/", "/v2//tags/list", "/v2/../manifests/a"] {
        assert_eq!(fails(path).code(), ErrorCode::NameInvalid, "{path}");
    }
    assert_eq!(fails("/v2/a/manifests/-").code(), ErrorCode::TagInvalid);
    assert_eq!(fails("/v2/a/manifests/").code(), ErrorCode::TagInvalid);
    assert_eq!(fails("/v2/a/manifests/sha256:0").code(), ErrorCode::DigestInvalid);
    assert_eq!(fails("/v2/a/blobs/latest").code(), ErrorCode::DigestInvalid);
    assert_eq!(fails("/v2/a/referrers/").code(), ErrorCode::DigestInvalid);
    assert_eq!(fails("/v2/a/blobs/uploads/1").code(), ErrorCode::BlobUploadUnknown);
}

fn names() -> impl Strategy<Value = RepoName> {
    let component = prop_oneof![
        prop::sample::select(vec!["blobs", "uploads", "manifests", "tags", "list", "referrers", "v2"])
            .prop_map(str::to_owned),
        "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}",
    ];
    prop::collection::vec(component, 1..6).prop_map(|parts| name(&parts.join("/")))
}

fn digests() -> impl Strategy<Value = Digest> {
    let sha256 = any::<[u8; 32]>().prop_map(|hash| Digest::from_hash(Algorithm::Sha256, &hash));
    let sha512 = any::<([u8; 32], [u8; 32])>()
        .prop_map(|h| Digest::from_hash(Algorithm::Sha512, &[h.0, h.1].concat()));
    prop_oneof![sha256, sha512].prop_map(|digest| digest.expect("length"))
}

fn references() -> impl Strategy<Value = Reference> {
    let tag =
        "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}".prop_map(|t| Reference::Tag(t.parse::<Tag>().expect("tag")));
    prop_oneof![tag, digests().prop_map(Reference::Digest)]
}

fn endpoints() -> impl Strategy<Value = Endpoint> {
    prop_oneof![
        Just(Endpoint::Base),
        Just(Endpoint::Catalog),
        names().prop_map(|name| Endpoint::Tags { name }),
        (names(), references()).prop_map(|(name, reference)| Endpoint::Manifest { name, reference }),
        (names(), digests()).prop_map(|(name, digest)| Endpoint::Blob { name, digest }),
        names().prop_map(|name| Endpoint::Uploads { name }),
        (names(), any::<[u8; 16]>())
            .prop_map(|(name, id)| Endpoint::Upload { name, id: UploadId::from_bytes(id) }),
        (names(), digests()).prop_map(|(name, digest)| Endpoint::Referrers { name, digest }),
    ]
}

proptest! {
    #[test]
    fn path_survives_formatting_and_parsing(endpoint in endpoints()) {
        prop_assert_eq!(Endpoint::parse(&endpoint.path()), Ok(endpoint));
    }

    #[test]
    fn paths_never_panic(
        path in ".{0,64}",
        tail in "(/(v2|blobs|uploads|tags|list|manifests|%[0-9a-f]{2}|.{0,3})){0,6}",
    ) {
        let _ = Endpoint::parse(&path);
        let _ = Endpoint::parse(&format!("/v2{tail}"));
    }
}
