//! What the evaluator of policies is told, and what its decisions hold.

use async_trait::async_trait;

use super::Result;
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName};
use crate::retention::{Needs, RepoSnapshot};

/// What a snapshot of a repository is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotQuery {
    /// How many different digests that each tag pointed at before.
    pub past: usize,
    /// The details of images. All others are left out, and unknown.
    pub needs: Needs,
}

/// A repository as it was at one moment, as far as the metadata store knows it.
#[derive(Debug, Clone)]
pub struct LoadedSnapshot {
    /// What is known. Indexes do not have yet what they inherit of their children.
    pub snapshot: RepoSnapshot,
    /// Configs that say more than is recorded: until they are read, what is asked for is unknown.
    pub unread: Vec<UnreadConfig>,
}

/// A config that says more than is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadConfig {
    /// The config.
    pub digest: Digest,
    /// The places of its images in the snapshot.
    pub manifests: Vec<usize>,
}

/// How many bytes of labels, annotations and platforms a snapshot holds: those of a million images with a label that
/// rules ask for. Of the images behind them they are unknown, so that these are kept.
pub const MAX_SNAPSHOT_DETAILS: usize = 32 << 20;

/// Whole repositories, for the evaluator of policies.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// The tags and live manifests of a repository as they are at one moment, and for each tag what it pointed at
    /// before, as far as its history goes back. `None` if there is no such repository. Costs a look at all of them.
    async fn retention_snapshot(
        &self,
        repo: &RepoName,
        query: &SnapshotQuery,
    ) -> Result<Option<LoadedSnapshot>>;
}

/// A manifest that a policy keeps although no tag, index or subject holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Which.
    pub digest: Digest,
    /// What keeps it, for people.
    pub reason: String,
}

/// When all repositories had last been judged, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What was alone by then has its pin, if it has one.
    pub at: Timestamp,
    /// What tells the policies from others.
    pub policies: String,
}

/// What holds manifests for policies. A pin holds like a tag, but for deletes by people.
#[async_trait]
pub trait Pins: Send + Sync {
    /// Makes these all the pins of a repository. What loses its pin is reviewed.
    async fn set_pins(&self, repo: &RepoName, pins: Vec<Pin>) -> Result<()>;

    /// Adds pins to those of a repository. What is pinned already stays so, for its own reason.
    async fn add_pins(&self, repo: &RepoName, pins: Vec<Pin>) -> Result<()>;

    /// Why a manifest is pinned, if it is.
    async fn pin(&self, repo: &RepoName, digest: &Digest) -> Result<Option<String>>;

    /// Records, lazily, that all repositories have been judged.
    async fn note_judged(&self, judged: &Judged) -> Result<()>;

    /// When they were last.
    async fn judged(&self) -> Result<Option<Judged>>;
}
