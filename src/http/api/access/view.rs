//! Read operations on the whole registry. Handlers reach them only through the rights in `decided`.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::ApiSettings;
use crate::clock::Timestamp;
use crate::http::Health;
use crate::jobs::retention::{InForce, RetentionError, Row};
use crate::jobs::scrub::ScrubReport;
use crate::jobs::usage::{UsageReport, usage};
use crate::jobs::{Collector, Retention, Scrub};
use crate::metadata::{BlobWhy, ManifestWhy, Metadata, QuarantinedBlob, Scope, UsageDay};
use crate::oci::{Digest, Reference, RepoName};
use crate::registry::{Page, Registry, ServiceError, TrashEntryKind, TrashListingPage, TrashListingPosition};

/// Everything that handlers read from.
pub(in crate::http::api) struct View {
    pub(super) registry: Arc<Registry>,
    pub(super) collector: Arc<Collector>,
    pub(super) health: Arc<dyn Health>,
    pub(super) scrub: Arc<Scrub>,
    pub(super) settings: ApiSettings,
    /// The retention job.
    pub(in crate::http::api) retention: Arc<Retention>,
    pub(super) started_at: Timestamp,
    /// Reports read many records, so only one runs at a time.
    pub(super) report: Semaphore,
}

impl View {
    /// The policies in force.
    pub(crate) fn in_force(&self) -> Arc<InForce> {
        self.retention.policy_set().in_force()
    }

    /// The metadata store.
    pub(crate) fn metadata(&self) -> &Metadata {
        self.registry.metadata().as_ref()
    }

    /// The current time.
    pub(crate) fn now(&self) -> Timestamp {
        self.registry.clock().now()
    }

    /// Whether a repository exists, even if all of its content is in the trash.
    pub(crate) async fn has_repository(&self, name: &RepoName) -> Result<bool, ServiceError> {
        Ok(self.registry.metadata().repository_exists(name).await?)
    }

    /// A page of removed items that can be restored.
    pub(crate) async fn list_trash(
        &self,
        repository: Option<&RepoName>,
        after: Option<TrashListingPosition>,
        limit: usize,
    ) -> Result<TrashListingPage, ServiceError> {
        self.registry.list_trash(repository, after, limit).await
    }

    /// The time until which an item removed at `removed_at` can be restored.
    pub(crate) fn kept_until(&self, kind: TrashEntryKind, removed_at: Timestamp) -> Timestamp {
        removed_at.plus(match kind {
            TrashEntryKind::Manifest => self.settings.trash,
            TrashEntryKind::Tag => self.registry.settings().history_removed,
        })
    }

    /// A page of the quarantined blobs.
    pub(crate) async fn damaged(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<QuarantinedBlob>, ServiceError> {
        self.registry.quarantined_blobs(after, limit).await
    }

    /// The progress of the scrub.
    pub(crate) async fn scrub(&self) -> Result<ScrubReport, ServiceError> {
        self.scrub.report().await
    }

    /// The usage of the repositories in `scope`.
    pub(crate) async fn usage(
        &self,
        scope: &Scope,
        shows: impl Fn(&Scope) -> bool,
    ) -> Result<UsageReport, ServiceError> {
        let _turn = self.report.acquire().await;
        usage(&self.registry, &self.collector.rules().await?, scope, shows).await
    }

    /// The last `limit` days of growth.
    pub(crate) async fn usage_days(&self, limit: usize) -> Result<Vec<UsageDay>, ServiceError> {
        Ok(self.registry.metadata().days(limit).await?)
    }

    /// What keeps a manifest, naming up to `limit` holders of each kind.
    pub(crate) async fn why_manifest(
        &self,
        name: &RepoName,
        reference: &Reference,
        limit: usize,
    ) -> Result<Option<ManifestWhy>, ServiceError> {
        let _turn = self.report.acquire().await;
        self.registry.flush_pulls_for_report().await;
        let rules = self.collector.rules().await?;
        Ok(self.registry.metadata().why_manifest(name, reference, &rules, limit).await?)
    }

    /// What policies would do to a manifest and its tags.
    pub(crate) async fn verdicts(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Vec<Row>>, RetentionError> {
        let _turn = self.report.acquire().await;
        self.retention.verdicts(name, digest).await
    }

    /// What keeps a blob, naming up to `limit` holders of each kind.
    pub(crate) async fn why_blob(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<BlobWhy>, ServiceError> {
        let _turn = self.report.acquire().await;
        let rules = self.collector.rules().await?;
        Ok(self.registry.metadata().why_blob(digest, &rules, limit).await?)
    }

    /// Whether a repository has a blob.
    pub(crate) async fn has_blob(&self, name: &RepoName, digest: &Digest) -> Result<bool, ServiceError> {
        Ok(self.registry.metadata().blob(name, digest).await?.is_some())
    }

    /// The first `limit` repositories that have a manifest.
    pub(crate) async fn repositories_of(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Vec<RepoName>, ServiceError> {
        Ok(self.registry.metadata().manifest_repositories(digest, limit).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Changes;
    use super::*;
    use crate::clock::ManualClock;
    use crate::http::AlwaysReady;
    use crate::jobs::retention::RetentionSettings;
    use crate::jobs::{CollectorSettings, ScrubSettings};
    use crate::metadata::{Access, Metadata};
    use crate::oci::{Algorithm, Hasher};
    use crate::registry::Settings;
    use crate::store::MemoryStore;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn view(dir: &std::path::Path) -> View {
        let metadata = Arc::new(Metadata::open(dir, Access::ReadWrite).expect("metadata"));
        let clock = Arc::new(ManualClock::at(Timestamp(1)));
        let registry = Registry::new(Arc::new(MemoryStore::new()), metadata, clock, Settings::default());
        let rules = CollectorSettings { trash: DAY, untagged: None, upload_expiry: DAY, batch: 1 };
        let collector = Arc::new(Collector::new(Arc::clone(&registry), rules));
        let scrub = Arc::new(Scrub::new(Arc::clone(&registry), ScrubSettings { period: None, rate: 1 }));
        let settings = ApiSettings { changes: Changes::Socket, trash: DAY };
        let batch = RetentionSettings { batch: 1 };
        let retention = Arc::new(Retention::new(Arc::clone(&registry), Arc::default(), batch));
        let started_at = Timestamp(1);
        let report = Semaphore::new(1);
        let health = Arc::new(AlwaysReady);
        View { registry, collector, health, scrub, settings, retention, started_at, report }
    }

    #[tokio::test]
    async fn reports_run_one_at_a_time() {
        let dir = tempfile::tempdir().expect("a folder");
        let view = view(dir.path());
        let name = "app".parse().expect("a name");
        let digest = Hasher::digest(Algorithm::Sha256, b"a");
        let other_report = view.report.acquire().await.expect("a turn");
        let waiting = tokio::time::timeout(Duration::from_millis(50), view.verdicts(&name, &digest)).await;
        assert!(waiting.is_err(), "{waiting:?}");
        drop(other_report);
        assert!(view.verdicts(&name, &digest).await.expect("a report").is_some());
    }
}
