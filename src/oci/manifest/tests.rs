//! Tests of parsing manifests.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::oci::media_type::*;
use crate::oci::{Algorithm, Hasher};

const LIMITS: ManifestLimits = ManifestLimits { max_references: 10 };
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn parse(manifest: &Value, content_type: Option<&str>) -> Result<Manifest, InvalidManifest> {
    let content_type = content_type.map(|text| MediaType::from_content_type(text).expect("type"));
    Manifest::parse(manifest.to_string().as_bytes(), content_type.as_ref(), &LIMITS)
}

fn valid(manifest: &Value) -> Manifest {
    parse(manifest, None).expect("valid")
}

fn fails(manifest: &Value) -> InvalidManifest {
    parse(manifest, None).expect_err("invalid")
}

fn digest(content: &str) -> Digest {
    Hasher::digest(Algorithm::Sha256, content.as_bytes())
}

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content).as_str(), "size": content.len() })
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_MANIFEST,
        "config": descriptor(CONFIG, "config"),
        "layers": [descriptor(LAYER, "one"), descriptor(LAYER, "two")],
    })
}

fn index() -> Value {
    let manifests =
        json!([descriptor(OCI_IMAGE_MANIFEST, "amd64"), descriptor(DOCKER_MANIFEST_LIST, "list")]);
    json!({ "schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": manifests })
}

fn with(mut manifest: Value, field: &str, value: Value) -> Value {
    manifest[field] = value;
    manifest
}

fn without(mut manifest: Value, field: &str) -> Value {
    manifest.as_object_mut().expect("object").remove(field);
    manifest
}

/// Returns the parts of each reference that matter to garbage collection.
fn targets(manifest: &Manifest) -> Vec<(&Digest, Role, TargetKind, bool)> {
    manifest.references.iter().map(|r| (&r.digest, r.role, r.kind, r.may_be_absent)).collect()
}

#[test]
fn image_refers_to_its_config_and_layers() {
    let manifest = valid(&with(image(), "org.example.custom", json!({ "a": [1] })));
    assert_eq!((manifest.media_type.as_str(), manifest.kind), (OCI_IMAGE_MANIFEST, ManifestKind::Image));
    let blob = |role| (role, TargetKind::Blob, false);
    let found: Vec<_> =
        targets(&manifest).into_iter().map(|(_, role, kind, absent)| (role, kind, absent)).collect();
    assert_eq!(found, [blob(Role::Config), blob(Role::Layer), blob(Role::Layer)]);
    assert_eq!(manifest.references[1].size, 3);
    assert_eq!(manifest.references[1].media_type, LAYER);
}

#[test]
fn image_may_have_no_layers() {
    for layers in [json!([]), Value::Null] {
        assert_eq!(valid(&with(image(), "layers", layers)).references.len(), 1);
    }
    assert_eq!(fails(&without(image(), "config")), InvalidManifest::Missing { path: "config".to_owned() });
}

#[test]
fn index_refers_to_manifests_and_with_buildkit_to_layers() {
    let manifest =
        with(index(), "manifests", json!([descriptor(DOCKER_MANIFEST, "a"), descriptor(LAYER, "b")]));
    let manifest = valid(&manifest);
    assert_eq!(manifest.artifact_type, None);
    let a = digest("a");
    let b = digest("b");
    let expected =
        [(&a, Role::Child, TargetKind::Manifest, false), (&b, Role::Child, TargetKind::Blob, false)];
    assert_eq!(targets(&manifest), expected);
    assert_eq!(valid(&with(index(), "manifests", json!([]))).references, []);
}

#[test]
fn artifact_manifest_refers_to_blobs() {
    let manifest = json!({
        "mediaType": OCI_ARTIFACT_MANIFEST,
        "artifactType": "application/vnd.example",
        "blobs": [descriptor("a/b", "blob")],
        "subject": descriptor(OCI_IMAGE_MANIFEST, "subject"),
    });
    let manifest = valid(&manifest);
    assert_eq!(manifest.kind, ManifestKind::Artifact);
    let blob = digest("blob");
    let subject = digest("subject");
    let expected = [
        (&blob, Role::Layer, TargetKind::Blob, false),
        (&subject, Role::Subject, TargetKind::Manifest, true),
    ];
    assert_eq!(targets(&manifest), expected);
}

#[test]
fn artifact_type_defaults_to_the_type_of_the_config() {
    assert_eq!(valid(&image()).artifact_type.as_deref(), Some(CONFIG));
    let own = |text: &str| valid(&with(image(), "artifactType", json!(text))).artifact_type;
    assert_eq!(own("application/vnd.example").as_deref(), Some("application/vnd.example"));
    assert_eq!(own("").as_deref(), Some(CONFIG));
}

#[test]
fn check_types_requires_media_types() {
    let checked = |manifest: &Value| valid(manifest).check_types();
    let typed = |media_type: &str| with(image(), "config", descriptor(media_type, "config"));
    let longest = format!("{}/{}", "a".repeat(127), "b".repeat(127));
    for good in [CONFIG, &longest] {
        assert_eq!(checked(&typed(good)), Ok(()), "{good}");
    }
    let layer = descriptor("text/plain; charset=utf-8", "layer");
    assert_eq!(checked(&with(image(), "layers", json!([layer]))), Ok(()));
    for bad in ["sbom", "a b/c", &format!("{longest}b"), "a/b\u{1b}"] {
        let error = checked(&typed(bad)).expect_err("invalid media type");
        assert!(error.to_string().contains(digest("config").as_str()), "{error}");
        let error = checked(&with(image(), "artifactType", json!(bad))).expect_err("invalid media type");
        assert!(error.to_string().contains("artifactType"), "{error}");
        // Manifests that were accepted earlier stay valid.
        assert!(parse(&typed(bad), None).is_ok());
    }
}

#[test]
fn subject_that_is_also_a_child_is_required() {
    let manifest = valid(&with(index(), "subject", descriptor(OCI_IMAGE_MANIFEST, "amd64")));
    assert_eq!(manifest.subject, Some(digest("amd64")));
    assert_eq!(manifest.references.len(), 2);
    assert_eq!((manifest.references[0].role, manifest.references[0].may_be_absent), (Role::Child, false));
}

#[test]
fn only_layers_with_other_locations_may_be_absent() {
    let may_be_absent = |media_type: &str, urls: &[&str]| {
        let layer = with(descriptor(media_type, "layer"), "urls", json!(urls));
        valid(&with(image(), "layers", json!([layer]))).references[1].may_be_absent
    };
    let urls = ["https://example.com/layer"];
    assert!(may_be_absent("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", &urls));
    assert!(may_be_absent(DOCKER_FOREIGN_LAYER, &urls));
    assert!(!may_be_absent(DOCKER_FOREIGN_LAYER, &[]));
    assert!(!may_be_absent(LAYER, &urls));
}

#[test]
fn duplicate_target_is_listed_once_with_the_stricter_requirement() {
    let foreign = with(descriptor(DOCKER_FOREIGN_LAYER, "same"), "urls", json!(["https://example.com"]));
    let manifest = valid(&with(image(), "layers", json!([foreign, descriptor(LAYER, "same"), foreign])));
    assert_eq!(manifest.references.len(), 2);
    assert!(!manifest.references[1].may_be_absent);
    let lie = with(descriptor(LAYER, "same"), "size", json!(99));
    let error = fails(&with(image(), "layers", json!([descriptor(LAYER, "same"), lie])));
    assert_eq!(error, InvalidManifest::TwoSizes { digest: digest("same"), first: 4, second: 99 });
}

#[test]
fn number_of_references_is_limited() {
    let layers = |count: usize| (0..count).map(|i| descriptor(LAYER, &i.to_string())).collect::<Value>();
    assert!(parse(&with(image(), "layers", layers(9)), None).is_ok());
    let error = fails(&with(image(), "layers", layers(10)));
    assert_eq!(error, InvalidManifest::TooManyReferences { limit: 10 });
    assert!(error.to_string().contains("10"), "{error}");
}

#[test]
fn header_and_body_must_agree() {
    let docker = with(image(), "mediaType", json!(DOCKER_MANIFEST));
    let mismatch = parse(&docker, Some(OCI_IMAGE_MANIFEST));
    assert!(matches!(mismatch, Err(InvalidManifest::MediaTypeMismatch { .. })));
    assert!(parse(&docker, Some("application/vnd.example+json")).is_err());
    let parameters = format!("{DOCKER_MANIFEST}; charset=utf-8");
    for content_type in
        [None, Some("application/json"), Some("application/octet-stream"), Some(parameters.as_str())]
    {
        assert_eq!(parse(&docker, content_type).expect("agrees").media_type.as_str(), DOCKER_MANIFEST);
    }
}

#[test]
fn fields_decide_the_kind_without_a_type() {
    let media_type = |manifest: Value, header| {
        parse(&without(manifest, "mediaType"), header).map(|manifest| manifest.media_type.to_string())
    };
    assert_eq!(media_type(image(), None), Ok(OCI_IMAGE_MANIFEST.to_owned()));
    assert_eq!(media_type(index(), Some("text/plain")), Ok(OCI_IMAGE_INDEX.to_owned()));
    assert_eq!(media_type(image(), Some(DOCKER_MANIFEST)), Ok(DOCKER_MANIFEST.to_owned()));
    assert_eq!(media_type(json!({ "schemaVersion": 2 }), None), Err(InvalidManifest::UnknownKind));
}

#[test]
fn unknown_types_need_known_fields_and_a_harmless_name() {
    let plain = without(index(), "mediaType");
    let manifest = parse(&plain, Some("application/vnd.example.v1+json")).expect("index-like");
    assert_eq!(manifest.media_type.as_str(), "application/vnd.example.v1+json");
    assert_eq!(manifest.kind, ManifestKind::Index);
    assert!(matches!(parse(&plain, Some("text/html")), Err(InvalidManifest::UnknownMediaType(_))));
    assert!(matches!(fails(&with(image(), "mediaType", json!("a\r\nb"))), InvalidManifest::MediaType(_)));
}

#[test]
fn rejects_manifests_of_two_kinds() {
    let both = with(image(), "manifests", index()["manifests"].clone());
    assert_eq!(fails(&both), InvalidManifest::MixedKinds("manifests"));
    assert_eq!(fails(&without(both, "mediaType")), InvalidManifest::MixedKinds("manifests"));
    assert_eq!(fails(&with(index(), "layers", json!([]))), InvalidManifest::MixedKinds("layers"));
    assert!(parse(&without(index(), "mediaType"), Some(OCI_IMAGE_MANIFEST)).is_err());
}

#[test]
fn rejects_schema_1() {
    let schema1 = json!({ "schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": [] });
    assert_eq!(fails(&schema1), InvalidManifest::Schema1);
    for content_type in [DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED] {
        assert_eq!(parse(&image(), Some(content_type)), Err(InvalidManifest::Schema1));
    }
    assert_eq!(fails(&with(image(), "schemaVersion", json!(3))), InvalidManifest::SchemaVersion(3));
    assert!(matches!(fails(&without(image(), "schemaVersion")), InvalidManifest::Missing { .. }));
    assert!(matches!(fails(&with(image(), "schemaVersion", json!("2"))), InvalidManifest::Field { .. }));
}

#[test]
fn rejects_anything_but_an_object() {
    let parse = |content: &[u8]| Manifest::parse(content, None, &LIMITS).expect_err("invalid");
    for content in ["", "[]", "null", "{", "{}{}", "{\"a\":}", "\u{feff}{}"] {
        assert!(matches!(parse(content.as_bytes()), InvalidManifest::NotJson(_)), "{content}");
    }
    assert!(matches!(parse(b"{\"a\":\"\xff\"}"), InvalidManifest::NotJson(_)));
    let nested = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(parse(nested.as_bytes()), InvalidManifest::TooDeep { .. }));
}

#[test]
fn descriptors_may_use_sha512() {
    let layer =
        with(descriptor(LAYER, "x"), "digest", json!(Hasher::digest(Algorithm::Sha512, b"x").as_str()));
    assert_eq!(valid(&with(image(), "layers", json!([layer]))).references.len(), 2);
}

#[test]
fn error_contains_the_path_of_the_field() {
    let error = fails(&with(image(), "layers", json!([descriptor(LAYER, "one"), { "mediaType": LAYER }])));
    assert_eq!(error.to_string(), "the manifest has no layers[1].digest");
    let path_of = |field: &str, value: Value| match fails(&with(image(), field, value)) {
        InvalidManifest::Field { path, .. } | InvalidManifest::Missing { path } => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(path_of("layers", json!({})), "layers");
    assert_eq!(path_of("config", json!([])), "config");
    assert_eq!(path_of("subject", json!({})), "subject.mediaType");
}

proptest! {
    #[test]
    fn bytes_never_panic(content: Vec<u8>, json in "[\\[\\]{}:,\"a-z0-9.\\\\ -]{0,64}") {
        let _ = Manifest::parse(&content, None, &LIMITS);
        let _ = Manifest::parse(json.as_bytes(), None, &LIMITS);
    }

    #[test]
    fn damaged_manifests_never_panic(
        at: prop::sample::Index,
        bytes in prop::collection::vec(any::<u8>(), 0..4),
        cut: bool,
    ) {
        for manifest in [image(), with(index(), "subject", descriptor(OCI_IMAGE_INDEX, "subject"))] {
            let mut content = manifest.to_string().into_bytes();
            let at = at.index(content.len());
            let end = if cut { content.len() } else { at + 1 };
            content.splice(at..end, bytes.iter().copied());
            let _ = Manifest::parse(&content, None, &LIMITS);
        }
    }
}
