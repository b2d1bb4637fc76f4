//! What the registry uses, and who of it; what may go, and when. In the manner of `docker system df`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::metadata::{
    self, BigBlob, ColdTag, CollectionRules, Holdings, QuotaUse, Reclaimable, RepoUsage, Scope, Usage,
    UsageDay,
};
use crate::registry::{Registry, ServiceError, Stored};

/// How many repositories a report shows: more than anybody reads, few enough to hold in memory.
const MOST_REPOSITORIES: usize = 10_000;

/// How many of the biggest and the coldest a report shows.
const FEW: usize = 10;

/// How many days of growth a report shows.
const DAYS: usize = 31;

/// What repositories use. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageReport {
    /// Which repositories it is about: a name, a prefix with a slash at its end, or nothing for all.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// What the registry as a whole uses; `null` in a report about a part of it.
    #[schema(required)]
    pub store: Option<StoreUsage>,
    /// What the repositories of the scope use together.
    pub usage: Usage,
    /// What may go of the scope, and when.
    pub reclaimable: ReclaimableReport,
    /// Each repository of the scope, largest first.
    pub repositories: Vec<RepositoryUsage>,
    /// The largest blobs of the scope.
    pub biggest_blobs: Vec<BlobUsage>,
    /// The tags of the scope that nobody pulled for the longest time.
    pub coldest_tags: Vec<TagUsage>,
    /// The quotas that some repository of the scope is, or would be, held to: those about repositories that the caller may
    /// read all of.
    pub quotas: Vec<QuotaReport>,
}

/// What the registry as a whole uses. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreUsage {
    /// Blobs stored.
    pub blobs: u64,
    /// Their bytes, each blob once.
    pub blob_bytes: u64,
    /// Manifests recorded, those in the trash included.
    pub manifests: u64,
    /// Uploads open.
    pub uploads: u64,
    /// Blobs that nothing names any more and whose bytes are about to be removed.
    pub doomed: u64,
    /// Their bytes.
    pub doomed_bytes: u64,
    /// What everything takes on the disk.
    pub stored: Stored,
    /// The size of the disk that the blobs are on.
    pub disk_bytes: u64,
    /// How much of it can still be written.
    pub free_bytes: u64,
    /// How the budget stands, if there is one.
    #[schema(required)]
    pub budget: Option<BudgetUse>,
    /// How the registry was at the end of the last days, the oldest first.
    pub days: Vec<UsageDay>,
}

/// How a budget stands. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetUse {
    /// The most that may be taken.
    pub bytes: u64,
    /// What is taken, open uploads included.
    pub taken: u64,
    /// Above this room is made.
    pub high: u64,
}

/// What may go. Of what repositories beyond the scope have too, nothing comes free. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReclaimableReport {
    /// What the next collection frees: what of the rest is due and, in the whole registry, what is doomed.
    pub now: u64,
    /// What only manifests in the trash hold.
    pub trash: Waiting,
    /// What only manifests hold that no tag, index or subject does.
    pub untagged: Waiting,
    /// Blobs that wait for a manifest.
    pub leased: Waiting,
}

/// Something that may go. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// How many manifests, or blobs where it is about blobs.
    pub count: u64,
    /// What would come free if all of it went.
    pub allocated: u64,
    /// How much of that is due now.
    pub due: u64,
    /// When, at the earliest, more falls due, by RFC 3339.
    #[schema(required)]
    pub next: Option<String>,
    /// When the last of it falls due, by RFC 3339, as far as that is known: not of what an upload keeps longer
    /// than its lease, nor of what no time ends.
    #[schema(required)]
    pub last: Option<String>,
}

/// What one repository uses. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepositoryUsage {
    /// Its name.
    pub name: String,
    /// Tags.
    pub tags: u64,
    /// Manifests, those in the trash included.
    pub manifests: u64,
    /// Blobs that it serves.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the disk spends on them.
    pub allocated: u64,
    /// What of that other repositories share.
    pub shared: u64,
    /// What the disk spends on those that no other repository serves: what its removal would free.
    pub exclusive: u64,
}

/// A blob among the largest. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlobUsage {
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub bytes: u64,
    /// What the disk spends on it.
    pub allocated: u64,
    /// How many repositories of the scope serve it.
    pub repositories: u64,
}

/// A tag among the coldest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TagUsage {
    /// Its repository.
    pub repository: String,
    /// Its name.
    pub tag: String,
    /// When it was last pulled, by RFC 3339; `None` for never.
    #[schema(required)]
    pub pulled: Option<String>,
    /// When it was last pushed or moved, by RFC 3339.
    pub pushed: String,
}

/// A quota, and what is used of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaReport {
    /// Whose it is.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// Bytes used.
    pub bytes: u64,
    /// The most bytes.
    #[schema(required)]
    pub most_bytes: Option<u64>,
    /// Tags there are.
    pub tags: u64,
    /// The most tags.
    #[schema(required)]
    pub most_tags: Option<u64>,
    /// Names of repositories there are.
    pub repositories: u64,
    /// The most names of repositories.
    #[schema(required)]
    pub most_repositories: Option<u64>,
}

/// Adds up what the repositories of `scope` use, and what may go by `rules`. Of quotas it lists those whose own scope `shows`
/// lets pass: what is used of a quota is used by all repositories of its scope.
///
/// # Errors
/// [`ServiceError`] when a store failed.
pub async fn usage(
    registry: &Registry,
    rules: &CollectionRules,
    scope: &Scope,
    shows: impl Fn(&Scope) -> bool,
) -> Result<UsageReport, ServiceError> {
    registry.settle_pulls().await;
    let metadata = registry.metadata();
    let store = match scope {
        Scope::All => Some(store_usage(registry).await?),
        Scope::Below(_) | Scope::One(_) => None,
    };
    // What is doomed belongs to no repository any more.
    let doomed = store.as_ref().map_or(0, |store| store.stored.doomed);
    // The one looks at as much as the others together: side by side they take half the time.
    let (holdings, (usage, repositories, biggest, coldest)) =
        tokio::try_join!(metadata.holdings(scope, rules), users(registry, scope))?;
    let quotas = registry.quota_use(None).await?.into_iter();
    let quotas = quotas.filter(|found| found.quota.scope.meets(scope) && shows(&found.quota.scope));
    Ok(UsageReport {
        scope: scope.clone(),
        store,
        usage,
        reclaimable: ReclaimableReport::of(&holdings, doomed),
        repositories: repositories.into_iter().map(Into::into).collect(),
        biggest_blobs: biggest.into_iter().map(Into::into).collect(),
        coldest_tags: coldest.into_iter().map(Into::into).collect(),
        quotas: quotas.map(Into::into).collect(),
    })
}

/// What the registry as a whole uses.
async fn store_usage(registry: &Registry) -> Result<StoreUsage, ServiceError> {
    let metadata = registry.metadata();
    let space = registry.blobs().space().await?;
    let totals = metadata.totals().await?;
    Ok(StoreUsage {
        blobs: totals.blobs,
        blob_bytes: totals.blob_bytes,
        manifests: totals.manifests,
        uploads: totals.uploads,
        doomed: totals.doomed,
        doomed_bytes: totals.doomed_bytes,
        stored: registry.stored().await?,
        disk_bytes: space.total,
        free_bytes: space.free,
        budget: registry.budget().await?.map(|state| BudgetUse {
            bytes: state.budget,
            taken: state.taken(),
            high: state.high,
        }),
        days: metadata.days(DAYS).await?,
    })
}

/// What is used, and who uses the most.
async fn users(
    registry: &Registry,
    scope: &Scope,
) -> metadata::Result<(Usage, Vec<RepoUsage>, Vec<BigBlob>, Vec<ColdTag>)> {
    let metadata = registry.metadata();
    let usage = metadata.usage(scope).await?;
    let repositories = metadata.biggest_repositories(scope, MOST_REPOSITORIES).await?;
    let blobs = metadata.biggest_blobs(scope, FEW).await?;
    Ok((usage, repositories, blobs, metadata.coldest_tags(scope, FEW).await?))
}

impl ReclaimableReport {
    fn of(holdings: &Holdings, doomed: u64) -> Self {
        let Holdings { trash, untagged, leased } = holdings;
        // What is untagged and due goes to the trash first, and frees nothing before its time there is over.
        let now = doomed + trash.due + leased.due;
        Self { now, trash: (*trash).into(), untagged: (*untagged).into(), leased: (*leased).into() }
    }
}

impl From<Reclaimable> for Waiting {
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
