//! The scrub's records: its position, and the quarantined blobs.

use super::Weigh;
use crate::oci::{BlobKey, RepoName};

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
