//! The usage report: what repositories and the whole registry use, and what can be reclaimed and when, like
//! `docker system df`.

use super::Reports;
use crate::metadata::{
    BigBlob, ColdTag, QuotaUse, ReclaimableSummary, RepoUsage, Scope, Totals, Usage, UsageDay,
};
use crate::oci::RepoName;
use crate::registry::{BudgetState, ServiceError, Stored};
use crate::store::Space;

/// The maximum number of repositories in a report: more than anyone reads, few enough to hold in memory.
const MAX_REPOSITORIES: usize = 10_000;

/// The maximum number of largest blobs and of coldest tags in a report.
const MAX_RANKED: usize = 10;

/// The number of days of growth in a report.
const MAX_DAYS: usize = 31;

/// What repositories use.
#[derive(Debug, Clone)]
pub struct UsageReport {
    /// The repositories covered.
    pub scope: Scope,
    /// What the registry as a whole uses; `None` in a report about a part of it.
    pub store: Option<StoreUsage>,
    /// What the repositories of the scope use together.
    pub usage: Usage,
    /// What can be reclaimed within the scope, and when.
    pub reclaimable: ReclaimableSummary,
    /// The repositories of the scope, largest first.
    pub repositories: Vec<RepoUsage>,
    /// The largest blobs of the scope.
    pub biggest_blobs: Vec<BigBlob>,
    /// The tags of the scope that have not been pulled for the longest time.
    pub coldest_tags: Vec<ColdTag>,
    /// The quotas that apply, or would apply, to a repository of the scope.
    pub quotas: Vec<QuotaUse>,
}

/// What the registry as a whole uses.
#[derive(Debug, Clone)]
pub struct StoreUsage {
    /// What is recorded.
    pub totals: Totals,
    /// The disk space used.
    pub stored: Stored,
    /// The disk that holds the blobs.
    pub disk: Space,
    /// The state of the budget, if one is set.
    pub budget: Option<BudgetState>,
    /// The totals at the end of each of the last days, oldest first.
    pub days: Vec<UsageDay>,
}

impl UsageReport {
    /// Returns the bytes that the next collection frees: everything due and, for the whole registry, blobs pending
    /// deletion, which belong to no repository.
    pub fn reclaimable_now(&self) -> u64 {
        let pending = self.store.as_ref().map_or(0, |store| store.stored.pending_deletion);
        // Untagged manifests that are due go to the trash first and free nothing before they expire there.
        pending + self.reclaimable.trash.due + self.reclaimable.leased.due
    }
}

impl Reports {
    /// Reports what the repositories of `scope` use and what can be reclaimed. Lists only quotas whose scope `shows`
    /// accepts, because a quota's use covers all repositories of its scope.
    ///
    /// # Errors
    /// Fails if a store can't be read.
    pub async fn usage(
        &self,
        scope: &Scope,
        shows: impl Fn(&Scope) -> bool,
    ) -> Result<UsageReport, ServiceError> {
        let _turn = self.turn().await;
        let rules = self.collector.rules().await?;
        self.registry.flush_pulls_for_report().await;
        let metadata = self.registry.metadata();
        let store = match scope {
            Scope::All => Some(self.store_usage().await?),
            Scope::Below(_) | Scope::One(_) => None,
        };
        let mut quotas = self.registry.quota_use(None).await?;
        quotas.retain(|found| found.quota.scope.overlaps(scope) && shows(&found.quota.scope));
        let largest = async {
            let usage = metadata.usage(scope).await?;
            let repositories = metadata.biggest_repositories(scope, MAX_REPOSITORIES).await?;
            let biggest_blobs = metadata.biggest_blobs(scope, MAX_RANKED).await?;
            Ok((usage, repositories, biggest_blobs, metadata.coldest_tags(scope, MAX_RANKED).await?))
        };
        // The first query takes as long as the others together, so running them concurrently halves the time.
        let (reclaimable, (usage, repositories, biggest_blobs, coldest_tags)) =
            tokio::try_join!(metadata.reclaimable_summary(scope, &rules), largest)?;
        let scope = scope.clone();
        Ok(UsageReport {
            scope,
            store,
            usage,
            reclaimable,
            repositories,
            biggest_blobs,
            coldest_tags,
            quotas,
        })
    }

    /// Reports what the registry as a whole uses.
    async fn store_usage(&self) -> Result<StoreUsage, ServiceError> {
        let metadata = self.registry.metadata();
        Ok(StoreUsage {
            disk: self.registry.blobs().space().await?,
            totals: metadata.totals().await?,
            stored: self.registry.stored().await?,
            budget: self.registry.budget().await?,
            days: metadata.days(MAX_DAYS).await?,
        })
    }

    /// Returns what one repository uses. Reads only its sums.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn repository_usage(&self, name: &RepoName) -> Result<Usage, ServiceError> {
        Ok(self.registry.metadata().usage(&Scope::One(name.clone())).await?)
    }

    /// Returns the totals of the last `limit` days, oldest first.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn usage_days(&self, limit: usize) -> Result<Vec<UsageDay>, ServiceError> {
        Ok(self.registry.metadata().days(limit).await?)
    }
}
