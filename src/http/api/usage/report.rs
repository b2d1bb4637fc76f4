//! The usage report as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::metadata::{self, BigBlob, ColdTag, QuotaUse, Reclaimable, RepoUsage, Scope};
use crate::registry;
use crate::reports;

/// What repositories use. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageReport {
    /// The repositories covered: a name, a prefix that ends with a slash, or empty for all.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// What the registry as a whole uses; `null` in a report about a part of it.
    #[schema(required)]
    pub store: Option<StoreUsage>,
    /// What the repositories of the scope use together.
    pub usage: Usage,
    /// What can be reclaimed within the scope, and when.
    pub reclaimable: ReclaimableReport,
    /// The repositories of the scope, largest first.
    pub repositories: Vec<RepositoryUsage>,
    /// The largest blobs of the scope.
    pub biggest_blobs: Vec<BlobUsage>,
    /// The tags of the scope that have not been pulled for the longest time.
    pub coldest_tags: Vec<TagUsage>,
    /// The quotas that apply, or would apply, to a repository of the scope. Only quotas on repositories that the
    /// requester may read completely are listed.
    pub quotas: Vec<QuotaReport>,
}

/// What the registry as a whole uses. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreUsage {
    /// The number of stored blobs.
    pub blobs: u64,
    /// Their size, each blob counted once.
    pub blob_bytes: u64,
    /// The number of manifests, including those in the trash.
    pub manifests: u64,
    /// The number of open uploads.
    pub uploads: u64,
    /// The number of blobs pending deletion: nothing references them, and their content is about to be removed.
    pub doomed: u64,
    /// The size of these blobs.
    pub doomed_bytes: u64,
    /// The disk space used in total.
    pub stored: Stored,
    /// The size of the disk that holds the blobs.
    pub disk_bytes: u64,
    /// The free space on that disk.
    pub free_bytes: u64,
    /// The state of the budget, if one is set.
    #[schema(required)]
    pub budget: Option<BudgetUse>,
    /// The registry's totals at the end of each of the last days, oldest first.
    pub days: Vec<UsageDay>,
}

/// Disk usage in bytes. Blobs, blobs pending deletion and directories together are the blob tree, as of the last
/// committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Stored {
    /// Blobs.
    pub blobs: u64,
    /// Blobs pending deletion: nothing names them any more, and their bytes are about to be removed.
    pub doomed: u64,
    /// The directories the blobs lie in.
    pub directories: u64,
    /// The bytes received by open uploads.
    pub staged: u64,
    /// The database and its log.
    pub database: u64,
}

/// What a set of repositories uses. All sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
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

/// The totals at the end of a day, or the latest totals of the current day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
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

/// The state of a budget. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetUse {
    /// The budget: the most space the registry may take.
    pub bytes: u64,
    /// The space taken, including open uploads.
    pub taken: u64,
    /// The high mark: above it, space is reclaimed.
    pub high: u64,
}

/// What can be reclaimed. Content that repositories outside the scope share is not counted. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReclaimableReport {
    /// What the next collection frees: everything due and, for the whole registry, blobs pending deletion.
    pub now: u64,
    /// What only manifests in the trash reference.
    pub trash: ReclaimableContent,
    /// What only untagged manifests reference that are in no index and have no subject.
    pub untagged: ReclaimableContent,
    /// Blobs under a lease that no manifest references yet.
    pub leased: ReclaimableContent,
}

/// Content that can be reclaimed. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Waiting)]
pub struct ReclaimableContent {
    /// The number of manifests, or of blobs in the entry for leased blobs.
    pub count: u64,
    /// The disk space freed if all of it is removed.
    pub allocated: u64,
    /// How much of that is due now.
    pub due: u64,
    /// When the next part falls due at the earliest, by RFC 3339.
    #[schema(required)]
    pub next: Option<String>,
    /// When the last part falls due, by RFC 3339, as far as known. Blobs that an upload keeps longer than their
    /// lease, and content without an expiry time, are not included.
    #[schema(required)]
    pub last: Option<String>,
}

/// What one repository uses. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepositoryUsage {
    /// The repository's name.
    pub name: String,
    /// The number of tags.
    pub tags: u64,
    /// The number of manifests, including those in the trash.
    pub manifests: u64,
    /// The number of blobs it serves.
    pub blobs: u64,
    /// The size of these blobs.
    pub bytes: u64,
    /// The disk space these blobs take.
    pub allocated: u64,
    /// The disk space shared with other repositories.
    pub shared: u64,
    /// The disk space of blobs that no other repository serves: what deleting this repository would free.
    pub exclusive: u64,
}

/// One of the largest blobs. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlobUsage {
    /// The blob's digest.
    pub digest: String,
    /// The blob's size.
    pub bytes: u64,
    /// The disk space it takes.
    pub allocated: u64,
    /// The number of repositories of the scope that serve it.
    pub repositories: u64,
}

/// One of the coldest tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TagUsage {
    /// The tag's repository.
    pub repository: String,
    /// The tag's name.
    pub tag: String,
    /// When it was last pulled, by RFC 3339; `null` if never.
    #[schema(required)]
    pub pulled: Option<String>,
    /// When it was last pushed or moved, by RFC 3339.
    pub pushed: String,
}

/// A quota and its current use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaReport {
    /// The repositories the quota applies to.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// The bytes used.
    pub bytes: u64,
    /// The maximum number of bytes.
    #[schema(required)]
    pub most_bytes: Option<u64>,
    /// The number of tags.
    pub tags: u64,
    /// The maximum number of tags.
    #[schema(required)]
    pub most_tags: Option<u64>,
    /// The number of repository names.
    pub repositories: u64,
    /// The maximum number of repository names.
    #[schema(required)]
    pub most_repositories: Option<u64>,
}

impl From<reports::UsageReport> for UsageReport {
    fn from(report: reports::UsageReport) -> Self {
        let metadata::ReclaimableSummary { trash, untagged, leased } = report.reclaimable;
        let now = report.reclaimable_now();
        Self {
            scope: report.scope,
            store: report.store.map(StoreUsage::from),
            usage: report.usage.into(),
            reclaimable: ReclaimableReport {
                now,
                trash: trash.into(),
                untagged: untagged.into(),
                leased: leased.into(),
            },
            repositories: report.repositories.into_iter().map(RepositoryUsage::from).collect(),
            biggest_blobs: report.biggest_blobs.into_iter().map(BlobUsage::from).collect(),
            coldest_tags: report.coldest_tags.into_iter().map(TagUsage::from).collect(),
            quotas: report.quotas.into_iter().map(QuotaReport::from).collect(),
        }
    }
}

impl From<reports::StoreUsage> for StoreUsage {
    fn from(store: reports::StoreUsage) -> Self {
        let reports::StoreUsage { totals, stored, disk, budget, days } = store;
        Self {
            blobs: totals.blobs,
            blob_bytes: totals.blob_bytes,
            manifests: totals.manifests,
            uploads: totals.uploads,
            doomed: totals.pending_deletions,
            doomed_bytes: totals.pending_deletion_bytes,
            stored: stored.into(),
            disk_bytes: disk.total,
            free_bytes: disk.free,
            budget: budget.map(|state| BudgetUse {
                bytes: state.budget,
                taken: state.taken(),
                high: state.high,
            }),
            days: days.into_iter().map(UsageDay::from).collect(),
        }
    }
}

impl Stored {
    /// Returns the sum of all parts.
    pub fn total(&self) -> u64 {
        self.blobs + self.doomed + self.directories + self.staged + self.database
    }
}

impl From<registry::Stored> for Stored {
    fn from(stored: registry::Stored) -> Self {
        let registry::Stored { blobs, pending_deletion, directories, staged, database } = stored;
        Self { blobs, doomed: pending_deletion, directories, staged, database }
    }
}

impl From<metadata::Usage> for Usage {
    fn from(usage: metadata::Usage) -> Self {
        let metadata::Usage { repositories, tags, manifests, links, logical, bytes, allocated, exclusive } =
            usage;
        Self { repositories, tags, manifests, links, logical, bytes, allocated, exclusive }
    }
}

impl From<metadata::UsageDay> for UsageDay {
    fn from(totals: metadata::UsageDay) -> Self {
        let metadata::UsageDay { day, blobs, bytes, allocated, manifests } = totals;
        Self { day, blobs, bytes, allocated, manifests }
    }
}

impl From<Reclaimable> for ReclaimableContent {
    fn from(found: Reclaimable) -> Self {
        let Reclaimable { count, allocated, due, next, last } = found;
        Self { count, allocated, due, next: next.map(Timestamp::rfc3339), last: last.map(Timestamp::rfc3339) }
    }
}

impl From<RepoUsage> for RepositoryUsage {
    fn from(RepoUsage { repo, usage }: RepoUsage) -> Self {
        Self {
            name: repo.to_string(),
            tags: usage.tags,
            manifests: usage.manifests,
            blobs: usage.links,
            bytes: usage.bytes,
            allocated: usage.allocated,
            shared: usage.shared(),
            exclusive: usage.exclusive,
        }
    }
}

impl From<BigBlob> for BlobUsage {
    fn from(blob: BigBlob) -> Self {
        let BigBlob { digest, bytes, allocated, links } = blob;
        Self { digest: digest.to_string(), bytes, allocated, repositories: links }
    }
}

impl From<ColdTag> for TagUsage {
    fn from(cold: ColdTag) -> Self {
        Self {
            repository: cold.repo.to_string(),
            tag: cold.tag.to_string(),
            pulled: cold.pulled_at.map(Timestamp::rfc3339),
            pushed: cold.pushed_at.rfc3339(),
        }
    }
}

impl From<QuotaUse> for QuotaReport {
    fn from(found: QuotaUse) -> Self {
        let QuotaUse { quota, bytes, tags, repositories } = found;
        Self {
            scope: quota.scope,
            bytes,
            most_bytes: quota.bytes,
            tags,
            most_tags: quota.tags,
            repositories,
            most_repositories: quota.repositories,
        }
    }
}
