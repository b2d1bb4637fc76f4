//! Snapshots of repositories for policy evaluation, and pins: manifests that policies keep.

use crate::clock::Timestamp;
use crate::oci::Digest;
use crate::retention::{Needs, RepoSnapshot};

/// What a snapshot of a repository should include.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotQuery {
    /// How many different earlier digests to include for each tag.
    pub past: usize,
    /// The image details to include. Others are left out and treated as unknown.
    pub needs: Needs,
}

/// A repository as it was at one moment, as far as the metadata store knows it.
#[derive(Debug, Clone)]
pub struct LoadedSnapshot {
    /// The known data. Indexes have not yet inherited the details of their children.
    pub snapshot: RepoSnapshot,
    /// Configs with more details than are recorded. The requested details stay unknown until these configs are
    /// read.
    pub unread: Vec<UnreadConfig>,
}

/// A config with more details than are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadConfig {
    /// The config.
    pub digest: Digest,
    /// The positions of its images in the snapshot.
    pub manifests: Vec<usize>,
}

/// The maximum size of labels, annotations and platforms in a snapshot in bytes: enough for a million images
/// with one label that rules use. Beyond that, details are unknown, and the images are kept.
pub const MAX_SNAPSHOT_DETAILS: usize = 32 << 20;

/// A manifest that a policy keeps although no tag, index or subject keeps it alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The manifest.
    pub digest: Digest,
    /// Why it is kept, in words for people.
    pub reason: String,
}

/// When policies were last evaluated for all repositories, and which policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationRecord {
    /// Manifests that were unreferenced by this time have their pins.
    pub at: Timestamp,
    /// The fingerprint of the policies.
    pub policies: String,
}
