//! The scrub's records: its position, and the quarantined blobs.

use async_trait::async_trait;

use super::{Page, Result, Weigh};
use crate::oci::{BlobKey, Digest, RepoName};

/// A quarantined blob. It is absent to all clients until its content is pushed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedBlob {
    /// The key that its content has, or had, in the blob store.
    pub key: BlobKey,
    /// The size it should have in bytes.
    pub size: u64,
    /// The repositories that link it, including hidden links: at most [`MAX_LINKING_REPOSITORIES`].
    pub repos: Vec<RepoName>,
}

impl Weigh for QuarantinedBlob {
    fn weight(&self) -> usize {
        256 + self.repos.iter().map(|repo| repo.as_str().len() + 16).sum::<usize>()
    }
}

/// The result of verifying a blob's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// The content matches the digest.
    Intact,
    /// The content is missing or does not match the digest, for this reason.
    Damaged(String),
}

/// The maximum number of repositories that are listed for a quarantined blob.
pub const MAX_LINKING_REPOSITORIES: usize = 32;

/// Stores the state of the scrub.
#[async_trait]
pub trait Scrubbing: Send + Sync {
    /// Returns the recorded position of the scrub in its own format; `None` before the first run.
    async fn scrub_position(&self) -> Result<Option<String>>;

    /// Records the position of the scrub, lazily.
    async fn record_scrub_position(&self, position: &str) -> Result<()>;

    /// Returns a page of the quarantined blobs in order of their digests.
    async fn quarantined_blobs(&self, after: Option<&Digest>, limit: usize) -> Result<Page<QuarantinedBlob>>;

    /// Returns the number of quarantined blobs, counting up to `max`.
    async fn count_quarantined(&self, max: usize) -> Result<u64>;
}
