//! The content of a stored manifest, for people to read. It was accepted earlier, so nothing is rejected: what can't be
//! read is left out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::platform::Platform;
use super::{Digest, string_map};

/// The maximum number of descriptors in each list.
pub const MAX_LISTED_DESCRIPTORS: usize = 1000;

/// The maximum size of the annotations of a manifest, as JSON in bytes.
const MAX_ANNOTATION_BYTES: usize = 64 << 10;

/// The maximum size of the annotations of a descriptor, as JSON in bytes.
const MAX_DESCRIPTOR_ANNOTATION_BYTES: usize = 4 << 10;

/// The annotation with the name of a file.
const TITLE: &str = "org.opencontainers.image.title";

/// Annotations on the members of an index that BuildKit writes.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// Annotations with the type of a statement.
const PREDICATE_TYPES: [&str; 3] =
    ["in-toto.io/predicate-type", "predicateType", "dev.sigstore.bundle.predicateType"];

/// Returns the types of statements in annotations.
pub(super) fn predicate_types(annotations: &BTreeMap<String, String>) -> impl Iterator<Item = &String> {
    PREDICATE_TYPES.iter().filter_map(|key| annotations.get(*key)).filter(|text| !text.is_empty())
}

/// Annotations, up to a size: whole pairs, shortest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShownAnnotations {
    /// The annotations.
    pub pairs: BTreeMap<String, String>,
    /// Whether there are more.
    pub incomplete: bool,
}

/// A descriptor in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentDescriptor {
    /// The digest of its target.
    pub digest: Digest,
    /// The media type of its target.
    pub media_type: String,
    /// The size of its target in bytes, as stated in the manifest.
    pub size: u64,
    /// The artifact type of a member of an index.
    pub artifact_type: Option<String>,
    /// The platform of a member of an index: `<os>/<architecture>` and optionally `/<variant>`.
    pub platform: Option<String>,
    /// Whether the index says that the platform is unknown, as builders do for attestations.
    pub has_unknown_platform: bool,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl ContentDescriptor {
    /// Returns the name of the file that it is.
    pub fn file_name(&self) -> Option<&str> {
        self.annotations.get(TITLE).map(String::as_str).filter(|title| !title.is_empty())
    }

    /// Whether it is an attestation in an index: it belongs to another member and is not an image.
    pub fn is_attestation(&self) -> bool {
        self.has_unknown_platform
            || self.annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind == "attestation-manifest")
    }

    /// Returns the member of the index that an attestation is about.
    pub fn attested(&self) -> Option<Digest> {
        self.annotations.get(REFERENCE_DIGEST)?.parse().ok()
    }
}

/// The content of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ManifestContents {
    /// The `artifactType`.
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Option<ContentDescriptor>,
    /// The layers, or the blobs of an artifact manifest, in order. A digest may occur twice.
    pub layers: Vec<ContentDescriptor>,
    /// The members of an index, in order.
    pub members: Vec<ContentDescriptor>,
    /// Whether there are more layers or members than [`MAX_LISTED_DESCRIPTORS`].
    pub incomplete: bool,
    /// The manifest that it is attached to.
    pub subject: Option<Digest>,
    /// The annotations.
    pub annotations: ShownAnnotations,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(borrow, default)]
    config: Option<&'a RawValue>,
    #[serde(borrow, default)]
    layers: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    blobs: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    manifests: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    subject: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescriptorFields<'a> {
    digest: String,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
}

impl ManifestContents {
    /// Reads a manifest. Everything is empty if it can't be read.
    pub fn read(content: &[u8]) -> Self {
        let Ok(fields) = serde_json::from_slice::<Fields<'_>>(content) else {
            return Self::default();
        };
        let layers = fields.layers.or(fields.blobs).unwrap_or_default();
        let members = fields.manifests.unwrap_or_default();
        Self {
            artifact_type: fields.artifact_type.filter(|text| !text.is_empty()),
            config: fields.config.and_then(descriptor),
            incomplete: layers.len().max(members.len()) > MAX_LISTED_DESCRIPTORS,
            layers: descriptors(layers),
            members: descriptors(members),
            subject: fields.subject.and_then(descriptor).map(|subject| subject.digest),
            annotations: fields
                .annotations
                .map(|json| annotations(json, MAX_ANNOTATION_BYTES))
                .unwrap_or_default(),
        }
    }

    /// Returns the types of the statements in an attestation, each once.
    pub fn predicates(&self) -> Vec<String> {
        let layers = self.layers.iter().map(|layer| &layer.annotations);
        let maps = std::iter::once(&self.annotations.pairs).chain(layers);
        super::deduplicate(maps.flat_map(predicate_types).cloned())
    }

    /// Returns the layers that are files, each with its name.
    pub fn files(&self) -> impl Iterator<Item = (&str, &ContentDescriptor)> {
        self.layers.iter().filter_map(|layer| Some((layer.file_name()?, layer)))
    }
}

fn descriptors(list: Vec<&RawValue>) -> Vec<ContentDescriptor> {
    list.into_iter().take(MAX_LISTED_DESCRIPTORS).filter_map(descriptor).collect()
}

fn descriptor(json: &RawValue) -> Option<ContentDescriptor> {
    let fields: DescriptorFields<'_> = serde_json::from_str(json.get()).ok()?;
    let platform = fields.platform.and_then(Platform::known);
    Some(ContentDescriptor {
        digest: fields.digest.parse().ok()?,
        media_type: fields.media_type.unwrap_or_default(),
        size: fields.size.unwrap_or_default(),
        artifact_type: fields.artifact_type.filter(|text| !text.is_empty()),
        has_unknown_platform: platform == Some(None),
        platform: platform.flatten(),
        annotations: fields
            .annotations
            .map(|json| annotations(json, MAX_DESCRIPTOR_ANNOTATION_BYTES).pairs)
            .unwrap_or_default(),
    })
}

fn annotations(json: &RawValue, max_bytes: usize) -> ShownAnnotations {
    let found = string_map::shortest(json.get(), max_bytes).unwrap_or_default();
    ShownAnnotations { pairs: found.pairs, incomplete: found.incomplete }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn read(manifest: &serde_json::Value) -> ManifestContents {
        ManifestContents::read(manifest.to_string().as_bytes())
    }

    #[test]
    fn reads_layers_in_order_with_repetitions() {
        let layer = |digit| json!({ "mediaType": "l", "digest": digest(digit), "size": 2 });
        let found = read(&json!({
            "config": { "mediaType": "c", "digest": digest('c'), "size": 1 },
            "layers": [layer('1'), layer('2'), layer('1'), { "digest": "x" }],
            "annotations": { "a": "b" },
        }));
        let layers: Vec<_> = found.layers.iter().map(|layer| layer.digest.to_string()).collect();
        assert_eq!(layers, [digest('1'), digest('2'), digest('1')]);
        assert_eq!(found.config.map(|config| config.media_type).as_deref(), Some("c"));
        assert_eq!(found.annotations.pairs["a"], "b");
        assert!(!found.incomplete && !found.annotations.incomplete);
    }

    #[test]
    fn names_the_files_of_an_artifact() {
        let found = read(&json!({
            "artifactType": "application/vnd.example",
            "blobs": [
                { "mediaType": "t", "digest": digest('1'), "size": 7, "annotations": { TITLE: "a.txt" } },
                { "mediaType": "t", "digest": digest('2'), "size": 8, "annotations": { TITLE: "" } },
            ],
            "subject": { "digest": digest('9') },
        }));
        let files: Vec<_> = found.files().map(|(name, file)| (name, file.size)).collect();
        assert_eq!(files, [("a.txt", 7)]);
        assert_eq!(found.subject.map(|subject| subject.to_string()), Some(digest('9')));
        assert_eq!(found.artifact_type.as_deref(), Some("application/vnd.example"));
    }

    #[test]
    fn separates_attestations_from_the_platforms_of_an_index() {
        let found = read(&json!({ "manifests": [
            { "digest": digest('1'), "platform": { "os": "linux", "architecture": "arm", "variant": "v7" } },
            { "digest": digest('2'), "platform": { "os": "unknown", "architecture": "unknown" },
              "annotations": { REFERENCE_TYPE: "attestation-manifest", REFERENCE_DIGEST: digest('1') } },
            { "digest": digest('3') },
        ]}));
        let is: Vec<_> = found.members.iter().map(ContentDescriptor::is_attestation).collect();
        assert_eq!(is, [false, true, false]);
        assert_eq!(found.members[0].platform.as_deref(), Some("linux/arm/v7"));
        assert_eq!(found.members[1].attested().map(|it| it.to_string()), Some(digest('1')));
    }

    #[test]
    fn unreadable_content_is_empty_and_long_content_is_cut() {
        for content in ["", "[]", "{", r#"{"layers":1}"#] {
            assert_eq!(ManifestContents::read(content.as_bytes()), ManifestContents::default(), "{content}");
        }
        let layers = vec![json!({ "digest": digest('1') }); MAX_LISTED_DESCRIPTORS + 1];
        let found =
            read(&json!({ "layers": layers, "annotations": { "long": "x".repeat(70_000), "a": "b" } }));
        assert_eq!((found.layers.len(), found.incomplete), (MAX_LISTED_DESCRIPTORS, true));
        assert_eq!((found.annotations.pairs.len(), found.annotations.incomplete), (1, true));
    }
}
