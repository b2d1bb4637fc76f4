//! What is used: by whom, of what, and what would come free.

use async_trait::async_trait;

use super::{BlobWhy, CollectionRules, ManifestWhy, Result, Scope, StoredBlob};
use crate::clock::Timestamp;
use crate::oci::{BlobKey, Digest, Reference, RepoName, Tag};

/// What one repository uses. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoUsage {
    /// Which.
    pub repo: RepoName,
    /// What it uses.
    pub usage: Usage,
}

/// What some repositories use. All sizes are in bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
pub struct Usage {
    /// How many repositories there are.
    pub repositories: u64,
    /// Tags.
    pub tags: u64,
    /// Manifests, those in the trash included.
    pub manifests: u64,
    /// Blobs linked, each as often as a repository links it.
    pub links: u64,
    /// Bytes as they were pushed, of each blob as often as a repository links it.
    pub logical: u64,
    /// Bytes as they were pushed, of each blob once.
    pub bytes: u64,
    /// What the medium spends on them, each blob once.
    pub allocated: u64,
    /// What the medium spends on those that nobody else links: what would come free without these repositories.
    pub exclusive: u64,
}

impl Usage {
    /// What the medium spends on blobs that others link too.
    pub fn shared(&self) -> u64 {
        self.allocated - self.exclusive
    }
}

/// What the repositories use whose names begin with the same segment. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrefixUsage {
    /// The segment; `None` for all that are not told by theirs.
    pub prefix: Option<String>,
    /// How many repositories there are.
    pub repositories: u64,
    /// Tags.
    pub tags: u64,
    /// Bytes as they were pushed, of each blob as often as a repository links it.
    pub logical: u64,
    /// What the medium spends on blobs that only one repository of all links.
    pub exclusive: u64,
    /// What the medium spends on blobs that several link, of each as often as one of these does.
    pub shared: u64,
}

/// What the medium spends on something that may go. All sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimable {
    /// How many manifests, or blobs where it is about blobs.
    pub count: u64,
    /// What would come free if all of it went.
    pub allocated: u64,
    /// How much of that the collector may take now.
    pub due: u64,
    /// When, at the earliest, more of it falls due.
    pub next: Option<Timestamp>,
    /// When the last of it falls due that does so at a known time.
    pub last: Option<Timestamp>,
}

/// What may go, and when. A blob is counted where it would come free with what is named, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holdings {
    /// What only manifests in the trash, or on their way out of it, hold.
    pub trash: Reclaimable,
    /// What only manifests hold that no tag, index or subject does.
    pub untagged: Reclaimable,
    /// Blobs that no manifest holds, kept for the manifest that may follow.
    pub leased: Reclaimable,
}

/// A blob among the biggest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigBlob {
    /// Which.
    pub digest: Digest,
    /// Bytes.
    pub bytes: u64,
    /// What the medium spends on it, in bytes.
    pub allocated: u64,
    /// How many repositories of the scope link it.
    pub links: u64,
}

/// A tag among those that nobody pulled for the longest time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColdTag {
    /// Whose it is.
    pub repo: RepoName,
    /// Which.
    pub tag: Tag,
    /// When its manifest was last pulled, if ever.
    pub pulled_at: Option<Timestamp>,
    /// When it was last pushed or moved.
    pub pushed_at: Timestamp,
}

/// How the totals were when a day ended, or last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct UsageDay {
    /// Days since the Unix epoch.
    pub day: i64,
    /// Blobs.
    pub blobs: u64,
    /// Their bytes, each blob once.
    pub bytes: u64,
    /// What the medium spent on them, in bytes.
    pub allocated: u64,
    /// Manifests, those in the trash included.
    pub manifests: u64,
}

/// Accounts. Each report is of one moment; its cost is told where it is more than a few rows.
#[async_trait]
pub trait Accounting: Send + Sync {
    /// Some blobs of which only a guess says what the medium spends on them: a migration made it.
    async fn unmeasured(&self, limit: usize) -> Result<Vec<StoredBlob>>;

    /// Records, lazily, what the medium spends on blobs. A generation that is not the current one any more
    /// is passed over.
    async fn note_allocated(&self, measured: Vec<(BlobKey, u64)>) -> Result<()>;

    /// What the medium spends on this store itself, in bytes.
    async fn own_size(&self) -> Result<u64>;

    /// What the repositories of `scope` use together. Below a prefix it looks at every blob of the store.
    async fn usage(&self, scope: &Scope) -> Result<Usage>;

    /// The `limit` repositories of `scope` that use the most, biggest first. Looks at every repository there.
    async fn biggest_repositories(&self, scope: &Scope, limit: usize) -> Result<Vec<RepoUsage>>;

    /// The `limit` first segments of names whose repositories use the most, biggest first; then all others
    /// together, if there are any. Looks at every repository, and at nothing else.
    async fn biggest_prefixes(&self, limit: usize) -> Result<Vec<PrefixUsage>>;

    /// The `limit` blobs that take the most of those that repositories of `scope` link, biggest first. Looks at every link
    /// there, or at every blob.
    async fn biggest_blobs(&self, scope: &Scope, limit: usize) -> Result<Vec<BigBlob>>;

    /// The `limit` tags of `scope` that nobody pulled for the longest time, those never pulled first. Looks at
    /// every tag there.
    async fn coldest_tags(&self, scope: &Scope, limit: usize) -> Result<Vec<ColdTag>>;

    /// What may go of the repositories of `scope`, and when. Of blobs that others link too nothing comes free.
    /// Looks at the trash and the review queue of these repositories; where much waits, at all of their edges and
    /// at all blobs.
    async fn holdings(&self, scope: &Scope, rules: &CollectionRules) -> Result<Holdings>;

    /// What the medium would get back, in bytes, if these manifests went for good, and with them the children
    /// and referrers that nothing else holds. Manifests that are not there count for nothing. Looks at what
    /// they refer to; where they are many, at all edges of their repositories.
    async fn would_free(&self, manifests: Vec<(RepoName, Digest)>) -> Result<u64>;

    /// What keeps a manifest, and up to `limit` of each kind of holder by name.
    async fn why_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<ManifestWhy>>;

    /// The first `limit` repositories that have a manifest, in whatever state. Looks at each repository.
    async fn manifest_repositories(&self, digest: &Digest, limit: usize) -> Result<Vec<RepoName>>;

    /// What keeps a blob, and up to `limit` of the repositories that link it, with as many holders in each.
    async fn why_blob(
        &self,
        digest: &Digest,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<BlobWhy>>;

    /// Records, lazily, how the totals are on the day of `now`, if that is news.
    async fn note_day(&self, now: Timestamp) -> Result<()>;

    /// The last `limit` days that were recorded, the oldest first.
    async fn days(&self, limit: usize) -> Result<Vec<UsageDay>>;
}
