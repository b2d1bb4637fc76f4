//! What the evaluator of policies is told, and what its decisions hold.

use async_trait::async_trait;

use super::Result;
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName};
use crate::retention::RepoSnapshot;

/// Whole repositories, for the evaluator of policies.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// The tags and live manifests of a repository as they are at one moment, and for each tag up to `past`
    /// different digests that it pointed at before, as far as its history goes back. `None` if there is no
    /// such repository. Costs a look at all of them.
    async fn retention_snapshot(&self, repo: &RepoName, past: usize) -> Result<Option<RepoSnapshot>>;
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
