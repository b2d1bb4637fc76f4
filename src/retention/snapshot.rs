//! The evaluator's input: a snapshot of one repository.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// The tags and live manifests of a repository at one moment.
#[derive(Debug, Clone)]
pub struct RepoSnapshot {
    /// The repository.
    pub repo: RepoName,
    /// The tags.
    pub tags: Vec<TagFacts>,
    /// The live manifests, each once. What a tag, an index or a subject names and is not among them is treated as
    /// unknown.
    pub manifests: Vec<ManifestFacts>,
}

/// A tag.
#[derive(Debug, Clone)]
pub struct TagFacts {
    /// The tag's name.
    pub name: Tag,
    /// The manifest it points at.
    pub digest: Digest,
    /// When it was last pushed or moved.
    pub pushed_at: Timestamp,
    /// The manifests it pointed at before, newest first.
    pub past: Vec<Digest>,
}

/// A live manifest.
#[derive(Debug, Clone)]
pub struct ManifestFacts {
    /// The digest.
    pub digest: Digest,
    /// When it was last pushed.
    pub pushed_at: Timestamp,
    /// When the manifest itself was last pulled; `None` if never.
    pub pulled_at: Option<Timestamp>,
    /// Since when it has been unreferenced, if known.
    pub alone_at: Option<Timestamp>,
    /// The size of the manifest itself in bytes.
    pub size: u64,
    /// The media type.
    pub media_type: String,
    /// The artifact type. `None` if it has none, or if it is unknown.
    pub artifact_type: Option<String>,
    /// Whether it has an artifact type that is unknown.
    pub has_unknown_artifact_type: bool,
    /// The platforms, such as `linux/arm/v7`; an index has those of its children. `None` if unknown.
    pub platforms: Option<Vec<String>>,
    /// The annotations, at least those that rules need. `None` if unknown.
    pub annotations: Option<BTreeMap<String, String>>,
    /// The labels of the config, at least those that rules need. `None` if unknown.
    pub labels: Option<BTreeMap<String, String>>,
    /// The manifests it lists, if it is an index.
    pub children: Vec<Digest>,
    /// The manifest it is attached to.
    pub subject: Option<Digest>,
    /// Whether it was adopted and is not released: then nothing expires it or what belongs to it.
    pub held: bool,
}

impl ManifestFacts {
    /// Creates a manifest of which only the digest and the time of the push are known.
    pub fn new(digest: Digest, pushed_at: Timestamp) -> Self {
        Self {
            digest,
            pushed_at,
            pulled_at: None,
            alone_at: None,
            size: 0,
            media_type: crate::oci::media_type::OCI_IMAGE_MANIFEST.into(),
            artifact_type: None,
            has_unknown_artifact_type: false,
            platforms: None,
            annotations: None,
            labels: None,
            children: Vec::new(),
            subject: None,
            held: false,
        }
    }
}
