//! Reports on storage: what repositories use, what is reclaimable, and what keeps an object alive.

use super::Totals;
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// What one repository uses. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoUsage {
    /// The repository.
    pub repo: RepoName,
    /// What it uses.
    pub usage: Usage,
}

/// What a set of repositories uses. All sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Number of repositories.
    pub repositories: u64,
    /// Number of tags.
    pub tags: u64,
    /// Number of manifests, including those in the trash.
    pub manifests: u64,
    /// Number of linked blobs. A blob counts once for each repository that links it.
    pub links: u64,
    /// Pushed bytes. A blob counts once for each repository that links it.
    pub logical: u64,
    /// Pushed bytes. A blob counts once.
    pub bytes: u64,
    /// Bytes allocated on disk. A blob counts once.
    pub allocated: u64,
    /// Bytes allocated on disk for blobs that no other repository links: the space that deleting these
    /// repositories would free.
    pub exclusive: u64,
}

impl Usage {
    /// Returns the bytes allocated for blobs that other repositories link, too.
    pub fn shared(&self) -> u64 {
        self.allocated - self.exclusive
    }
}

/// What all repositories with the same first name segment use. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrefixUsage {
    /// The segment. `None` for the sum of all prefixes that are not listed themselves.
    pub prefix: Option<String>,
    /// Number of repositories.
    pub repositories: u64,
    /// Number of tags.
    pub tags: u64,
    /// Pushed bytes. A blob counts once for each repository that links it.
    pub logical: u64,
    /// Bytes allocated for blobs that only one repository of the whole registry links.
    pub exclusive: u64,
    /// Bytes allocated for blobs that several repositories link. A blob counts once for each of these
    /// repositories with this prefix.
    pub shared: u64,
}

/// Space that can be reclaimed. All sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimable {
    /// Number of manifests, or of blobs if this is about blobs.
    pub count: u64,
    /// Bytes that removing all of it would free.
    pub allocated: u64,
    /// The part of `allocated` that the collector may free now.
    pub due: u64,
    /// The earliest time at which more becomes due.
    pub next: Option<Timestamp>,
    /// The latest known time at which more becomes due.
    pub last: Option<Timestamp>,
}

/// What can be reclaimed, and when. A blob counts only where removing that category alone would free it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReclaimableSummary {
    /// Kept only by manifests that are in the trash or being purged.
    pub trash: Reclaimable,
    /// Kept only by manifests that no tag, index or subject keeps alive.
    pub untagged: Reclaimable,
    /// Blobs that no manifest references. Leases keep them for a manifest that may follow.
    pub leased: Reclaimable,
}

/// One of the largest blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, as it was pushed.
    pub bytes: u64,
    /// Bytes allocated on disk.
    pub allocated: u64,
    /// Number of repositories in the scope that link it.
    pub links: u64,
}

/// One of the tags that have not been pulled for the longest time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColdTag {
    /// Its repository.
    pub repo: RepoName,
    /// The tag.
    pub tag: Tag,
    /// When its manifest was last pulled, if ever.
    pub pulled_at: Option<Timestamp>,
    /// When it was last pushed or moved.
    pub pushed_at: Timestamp,
}

/// The totals at the end of a day, or the latest totals of the current day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageDay {
    /// Days since the Unix epoch.
    pub day: i64,
    /// Number of blobs.
    pub blobs: u64,
    /// Pushed bytes of all blobs. A blob counts once.
    pub bytes: u64,
    /// Bytes allocated on disk.
    pub allocated: u64,
    /// Number of manifests, including those in the trash.
    pub manifests: u64,
}

/// The space that only one repository uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExclusiveSpace {
    /// The repository.
    pub repo: RepoName,
    /// Bytes allocated on disk for blobs that no other repository links.
    pub bytes: u64,
}

/// The repositories with the most exclusive space among those that a client may read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LargestRepositories {
    /// The repositories, largest first. What can be reclaimed in them is included.
    pub items: Vec<ExclusiveSpace>,
    /// Whether the client may read others, too.
    pub others: bool,
}

/// The disk space of all blobs, divided so that each blob counts once. All sizes are in bytes allocated on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceDivision {
    /// The totals at the same moment. Exclusive, shared and reclaimable parts add up to
    /// [`Totals::blob_allocated`].
    pub totals: Totals,
    /// The repositories with the most exclusive space, largest first, without what can be reclaimed.
    pub largest: Vec<ExclusiveSpace>,
    /// The number of all repositories.
    pub repositories: u64,
    /// The number of repositories that are not among the largest.
    pub other_repositories: u64,
    /// Their exclusive space, without what can be reclaimed.
    pub other_bytes: u64,
    /// Blobs that several repositories link, without what can be reclaimed.
    pub shared: u64,
    /// Blobs that only manifests in the trash keep.
    pub trash: u64,
    /// Blobs that only untagged manifests keep.
    pub untagged: u64,
    /// Blobs that no manifest references.
    pub leased: u64,
    /// What can be reclaimed, and when.
    pub reclaimable: ReclaimableSummary,
}
