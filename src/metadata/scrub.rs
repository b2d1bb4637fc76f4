//! What the scrub keeps among the facts: where it is, and what it has set aside.

use async_trait::async_trait;

use super::{Page, Result, Weigh};
use crate::oci::{BlobKey, Digest, RepoName};

/// A blob that was set aside: absent to everyone until a push brings its bytes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedBlob {
    /// Where its bytes are, or were.
    pub key: BlobKey,
    /// How many they should be.
    pub size: u64,
    /// Repositories that have a link to it, hidden ones included: the first [`MOST_LINKERS`] of them.
    pub repos: Vec<RepoName>,
}

impl Weigh for DamagedBlob {
    fn weight(&self) -> usize {
        256 + self.repos.iter().map(|repo| repo.as_str().len() + 16).sum::<usize>()
    }
}

/// What a look at a blob's bytes has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// They are what they should be.
    Sound,
    /// They are not, or are not there, for this reason.
    Damaged(String),
}

/// How many of a damaged blob's repositories are told.
pub const MOST_LINKERS: usize = 32;

/// The scrub's own facts.
#[async_trait]
pub trait Scrubbing: Send + Sync {
    /// Where the scrub was, as it wrote it down; `None` before the first time.
    async fn scrub_place(&self) -> Result<Option<String>>;

    /// Writes down, lazily, where the scrub is.
    async fn note_scrub_place(&self, place: &str) -> Result<()>;

    /// A page of the blobs that are set aside, in order of their digests.
    async fn damaged(&self, after: Option<&Digest>, limit: usize) -> Result<Page<DamagedBlob>>;

    /// How many blobs are set aside, counted up to `most`.
    async fn count_damaged(&self, most: usize) -> Result<u64>;
}
