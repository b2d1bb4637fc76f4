//! Records of the adoption of another registry's files.

use serde::{Deserialize, Serialize};

use super::{BlobSize, Change, Edge, PushedDetails};
use crate::clock::Timestamp;
use crate::oci::{BlobKey, Digest, RepoName, Tag};

/// A blob whose file is in the store under a planned key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedBlob {
    /// The planned key.
    pub key: BlobKey,
    /// The first repository that serves it: no blob is recorded without a link.
    pub repo: RepoName,
    /// Its size in bytes.
    pub size: BlobSize,
    /// Whether its file is a hard link that the other registry's tree has too.
    pub hardlinked: bool,
    /// Whether its content was hashed and matches its digest.
    pub verified: bool,
}

/// A blob whose content has not been hashed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedBlob {
    /// The key of its content in the blob store.
    pub key: BlobKey,
    /// Its size in bytes.
    pub size: u64,
}

/// A manifest to adopt. Its digest has been checked.
#[derive(Debug, Clone)]
pub struct AdoptManifest {
    /// Its repository.
    pub repo: RepoName,
    /// Its digest.
    pub digest: Digest,
    /// Its exact bytes.
    pub content: Vec<u8>,
    /// Its media type.
    pub media_type: String,
    /// The artifact type that a referrers list shows.
    pub artifact_type: Option<String>,
    /// The details of its image.
    pub details: PushedDetails,
    /// Its references: each target and kind once. Targets that are missing become optional.
    pub edges: Vec<Edge>,
    /// The time of the adoption, which counts as a push and a pull.
    pub now: Timestamp,
}

/// What became of a manifest that was to be adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// It is stored.
    New,
    /// The repository has or had it, so nothing changed. It may be in the trash.
    Known,
}

/// A tag to adopt.
#[derive(Debug, Clone)]
pub struct AdoptTag {
    /// Its repository.
    pub repo: RepoName,
    /// The tag.
    pub tag: Tag,
    /// The manifest that it points at.
    pub digest: Digest,
    /// When it was set to point there, by the other registry.
    pub tagged_at: Timestamp,
    /// What it pointed at before and since when, oldest first.
    pub history: Vec<(Digest, Timestamp)>,
    /// The time of the adoption, which counts as a push, and how many rows of history to keep.
    pub change: Change,
}

/// What became of a tag that was to be adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdoptedTag {
    /// It is a new tag.
    New,
    /// It was moved: the other registry received a push later than this one.
    Moved,
    /// Nothing changed.
    Kept(KeptTag),
}

/// Why a tag was not adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptTag {
    /// It points at that manifest already.
    Unchanged,
    /// It was moved, deleted or restored in this registry later.
    ChangedHere,
    /// The repository has no such live manifest.
    NoManifest,
}

/// What an adoption found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AdoptionCounts {
    /// Number of repositories.
    pub repositories: u64,
    /// Number of manifests.
    pub manifests: u64,
    /// Number of tags.
    pub tags: u64,
    /// Number of blobs.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Number of problems: content that is missing, broken or not supported.
    pub problems: u64,
}

/// The adoption of another registry's tree. There is at most one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AdoptionRecord {
    /// Path of the tree.
    pub path: String,
    /// When the first scan started.
    pub started_at: Timestamp,
    /// When the last complete scan ended; `None` if none has.
    pub finished_at: Option<Timestamp>,
    /// When an administrator let policies apply to what was adopted.
    pub released_at: Option<Timestamp>,
    /// Whether the tree was removed.
    pub tree_removed: bool,
    /// The bytes that the tree holds on disk.
    pub tree_bytes: u64,
    /// What the last scan found.
    pub counts: AdoptionCounts,
}

/// What is left to do after an adoption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdoptionFigures {
    /// Number of adopted manifests that are not released, including those in the trash.
    pub held_manifests: u64,
    /// Number of blobs whose content has not been hashed yet.
    pub unverified_blobs: u64,
    /// Their bytes.
    pub unverified_bytes: u64,
    /// Number of blobs whose files the other registry's tree has too.
    pub hardlinked_blobs: u64,
    /// The bytes allocated for them on disk.
    pub hardlinked_bytes: u64,
}

/// What deleting manifests for good would do to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemovalEffect {
    /// The bytes on disk that become free.
    pub freed: u64,
    /// The bytes on disk of removed blobs whose files another registry's tree has too. They become free when that tree
    /// is removed.
    pub hardlinked: u64,
    /// Whether nothing becomes free although a removed manifest refers to such a blob.
    pub frees_nothing: bool,
}

impl RemovalEffect {
    /// Returns whether the removal would sacrifice content for bytes that mostly stay on the disk.
    pub fn is_futile(&self) -> bool {
        self.freed < self.hardlinked || self.frees_nothing
    }
}
