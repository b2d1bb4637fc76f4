//! Reports on storage: what repositories use, what is reclaimable, and what keeps an object alive.

use async_trait::async_trait;

use super::{BlobWhy, CollectionRules, ManifestWhy, Result, Scope, StoredBlob};
use crate::clock::Timestamp;
use crate::oci::{BlobKey, Digest, Reference, RepoName, Tag};

/// What one repository uses. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoUsage {
    /// The repository.
    pub repo: RepoName,
    /// What it uses.
    pub usage: Usage,
}

/// What a set of repositories uses. All sizes are in bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
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

/// Usage reports. Each report describes one moment. The cost is documented where it is more than a few rows.
#[async_trait]
pub trait Accounting: Send + Sync {
    /// Returns some blobs whose allocated size is only an estimate that a migration made.
    async fn unmeasured(&self, limit: usize) -> Result<Vec<StoredBlob>>;

    /// Records, lazily, the allocated sizes of blobs. Skips generations that are no longer current.
    async fn record_allocated(&self, measured: Vec<(BlobKey, u64)>) -> Result<()>;

    /// Returns the bytes that this store itself takes on disk.
    async fn own_size(&self) -> Result<u64>;

    /// Returns what the repositories of `scope` use together. For a prefix it reads every blob of the store.
    async fn usage(&self, scope: &Scope) -> Result<Usage>;

    /// Returns the `limit` repositories of `scope` that use the most space, largest first. Reads every
    /// repository of the scope.
    async fn biggest_repositories(&self, scope: &Scope, limit: usize) -> Result<Vec<RepoUsage>>;

    /// Returns the `limit` first name segments whose repositories use the most space, largest first, then the
    /// sum of all others, if any. Reads every repository, and nothing else.
    async fn biggest_prefixes(&self, limit: usize) -> Result<Vec<PrefixUsage>>;

    /// Returns the `limit` largest blobs linked by repositories of `scope`, largest first. Reads every link of
    /// the scope, or every blob.
    async fn biggest_blobs(&self, scope: &Scope, limit: usize) -> Result<Vec<BigBlob>>;

    /// Returns the `limit` tags of `scope` that have not been pulled for the longest time. Tags that were never
    /// pulled come first. Reads every tag of the scope.
    async fn coldest_tags(&self, scope: &Scope, limit: usize) -> Result<Vec<ColdTag>>;

    /// Returns what can be reclaimed in the repositories of `scope`, and when. Blobs that other repositories
    /// link, too, free nothing. Reads the trash and the review queue of these repositories; if many entries
    /// wait there, all edges of these repositories and all blobs.
    async fn reclaimable_summary(&self, scope: &Scope, rules: &CollectionRules)
    -> Result<ReclaimableSummary>;

    /// Returns the bytes on disk that deleting these manifests for good would free, together with the children
    /// and referrers that nothing else keeps alive. Manifests that do not exist are ignored. Reads what they
    /// refer to; if there are many, all edges of their repositories.
    async fn would_free(&self, manifests: Vec<(RepoName, Digest)>) -> Result<u64>;

    /// Returns what keeps a manifest alive, with up to `limit` names for each reason.
    async fn why_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<ManifestWhy>>;

    /// Returns the first `limit` repositories that have a manifest, in any state. Reads every repository.
    async fn manifest_repositories(&self, digest: &Digest, limit: usize) -> Result<Vec<RepoName>>;

    /// Returns what keeps a blob alive: up to `limit` repositories that link it, with up to `limit` manifests
    /// in each.
    async fn why_blob(
        &self,
        digest: &Digest,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<BlobWhy>>;

    /// Records, lazily, the totals for the day of `now`, if they have changed.
    async fn record_day(&self, now: Timestamp) -> Result<()>;

    /// Returns the last `limit` recorded days, oldest first.
    async fn days(&self, limit: usize) -> Result<Vec<UsageDay>>;
}
