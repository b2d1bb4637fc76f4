//! What the evaluator is told of one repository.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// One repository's tags and live manifests, as they were at one moment.
#[derive(Debug, Clone)]
pub struct RepoSnapshot {
    /// Which.
    pub repo: RepoName,
    /// Its tags.
    pub tags: Vec<TagFacts>,
    /// Its live manifests, each once. A tag, child or subject that is not among them is taken for unknown.
    pub manifests: Vec<ManifestFacts>,
}

/// A tag.
#[derive(Debug, Clone)]
pub struct TagFacts {
    /// Its name.
    pub name: Tag,
    /// What it points at.
    pub digest: Digest,
    /// When it was last pushed or moved.
    pub pushed_at: Timestamp,
    /// What it pointed at before, newest first.
    pub past: Vec<Digest>,
}

/// A live manifest.
#[derive(Debug, Clone)]
pub struct ManifestFacts {
    /// Its digest.
    pub digest: Digest,
    /// When it was last pushed.
    pub pushed_at: Timestamp,
    /// When it was last pulled itself. `None`: never.
    pub pulled_at: Option<Timestamp>,
    /// Since when nothing has held it, if that is known.
    pub alone_at: Option<Timestamp>,
    /// Its own length in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// Its artifact type. `None`: it has none, or it is not known.
    pub artifact_type: Option<String>,
    /// Whether it has an artifact type that is not known.
    pub has_unknown_artifact_type: bool,
    /// Its platforms like `linux/arm/v7`; an index has those of its children. `None`: not known.
    pub platforms: Option<Vec<String>>,
    /// Its annotations, at least those that rules ask for. `None`: not known.
    pub annotations: Option<BTreeMap<String, String>>,
    /// The labels of its config, at least those that rules ask for. `None`: not known.
    pub labels: Option<BTreeMap<String, String>>,
    /// The manifests that it is an index of.
    pub children: Vec<Digest>,
    /// What it is attached to.
    pub subject: Option<Digest>,
}

impl ManifestFacts {
    /// A manifest of which nothing more is known than that it was pushed.
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
        }
    }
}
