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
use crate::metadata::{
    BlobWhy, HistoryEntry, ListPage, ListQuery, ManifestWhy, Metadata, QuarantinedBlob, RepositoryEntry,
    RepositoryStep, Scope, SortKey, TagEntry, UsageDay, Visible,
};
use crate::oci::{Digest, Reference, RepoName, Tag};
use crate::registry::{
    Access, ManifestDetail, ManifestError, Page, Registry, Repository, ServiceError, TrashEntryKind,
    TrashListingPage, TrashListingPosition,
};

/// Everything that handlers read from.
pub(in crate::http::api) struct View {
    pub(super) registry: Arc<Registry>,
    pub(super) collector: Arc<Collector>,
    pub(super) health: Arc<dyn Health>,
    pub(super) scrub: Arc<Scrub>,
    pub(super) settings: ApiSettings,
    pub(super) retention: Arc<Retention>,
    pub(super) started_at: Timestamp,
    /// Reports read many records, so only one runs at a time.
    pub(super) report: Semaphore,
}

impl View {
    /// The retention job.
    pub(in crate::http::api) fn retention(&self) -> &Arc<Retention> {
        &self.retention
    }

    /// The policies in force.
    pub(in crate::http::api) fn in_force(&self) -> Arc<InForce> {
        self.retention.policy_set().in_force()
    }

    /// The metadata store.
    pub(in crate::http::api) fn metadata(&self) -> &Metadata {
        self.registry.metadata().as_ref()
    }

    /// The health of the registry.
    pub(in crate::http::api) fn health(&self) -> &dyn Health {
        self.health.as_ref()
    }

    /// The current time.
    pub(in crate::http::api) fn now(&self) -> Timestamp {
        self.registry.clock().now()
    }

    /// When the server started.
    pub(in crate::http::api) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Whether the registry rejects all changes.
    pub(in crate::http::api) fn is_read_only(&self) -> bool {
        self.registry.settings().read_only
    }

    /// A page of repositories.
    pub(in crate::http::api) async fn repositories(
        &self,
        query: &ListQuery,
        visible: &Visible,
    ) -> Result<ListPage<RepositoryEntry>, ServiceError> {
        self.registry.list_repositories(query, visible).await
    }

    /// A repository.
    pub(in crate::http::api) async fn repository(
        &self,
        name: &RepoName,
    ) -> Result<Option<RepositoryEntry>, ServiceError> {
        self.registry.repository_entry(name).await
    }

    /// Whether a repository exists, even if all of its content is in the trash.
    pub(in crate::http::api) async fn has_repository(&self, name: &RepoName) -> Result<bool, ServiceError> {
        Ok(self.registry.metadata().repository_exists(name).await?)
    }

    /// A page of a repository's tags.
    pub(in crate::http::api) async fn tags(
        &self,
        name: RepoName,
        query: &ListQuery,
    ) -> Result<ListPage<TagEntry>, ManifestError> {
        // Sorting by size reads all tags, like a report.
        let _turn = match query.sort {
            SortKey::Size => self.report.acquire().await.ok(),
            SortKey::Name | SortKey::Pushed | SortKey::Pulled => None,
        };
        self.view(name).list_tags(query).await
    }

    /// A tag.
    pub(in crate::http::api) async fn tag(
        &self,
        name: RepoName,
        tag: &Tag,
    ) -> Result<TagEntry, ManifestError> {
        self.view(name).tag_entry(tag).await
    }

    /// A manifest.
    pub(in crate::http::api) async fn manifest(
        &self,
        name: RepoName,
        digest: &Digest,
    ) -> Result<ManifestDetail, ManifestError> {
        self.view(name).manifest_detail(digest).await
    }

    /// A page of a tag's history.
    pub(in crate::http::api) async fn tag_history(
        &self,
        name: RepoName,
        tag: &Tag,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, ServiceError> {
        self.view(name).tag_history(tag, before, limit).await
    }

    /// A page of a repository's own history.
    pub(in crate::http::api) async fn history(
        &self,
        name: RepoName,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, ServiceError> {
        self.view(name).history(before, limit).await
    }

    /// The progress of a repository's last deletion or restoration.
    pub(in crate::http::api) async fn work(
        &self,
        name: RepoName,
    ) -> Result<Option<RepositoryStep>, ServiceError> {
        self.view(name).work().await
    }

    /// A page of removed items that can be restored.
    pub(in crate::http::api) async fn list_trash(
        &self,
        repository: Option<&RepoName>,
        after: Option<TrashListingPosition>,
        limit: usize,
    ) -> Result<TrashListingPage, ServiceError> {
        self.registry.list_trash(repository, after, limit).await
    }

    /// The time until which an item removed at `removed_at` can be restored.
    pub(in crate::http::api) fn kept_until(&self, kind: TrashEntryKind, removed_at: Timestamp) -> Timestamp {
        removed_at.plus(match kind {
            TrashEntryKind::Manifest => self.settings.trash,
            TrashEntryKind::Tag => self.registry.settings().history_removed,
        })
    }

    /// A page of the quarantined blobs.
    pub(in crate::http::api) async fn damaged(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<QuarantinedBlob>, ServiceError> {
        self.registry.quarantined_blobs(after, limit).await
    }

    /// The progress of the scrub.
    pub(in crate::http::api) async fn scrub(&self) -> Result<ScrubReport, ServiceError> {
        self.scrub.report().await
    }

    /// The usage of the repositories in `scope`.
    pub(in crate::http::api) async fn usage(
        &self,
        scope: &Scope,
        shows: impl Fn(&Scope) -> bool,
    ) -> Result<UsageReport, ServiceError> {
        let _turn = self.report.acquire().await;
        usage(&self.registry, &self.collector.rules().await?, scope, shows).await
    }

    /// The last `limit` days of growth.
    pub(in crate::http::api) async fn usage_days(&self, limit: usize) -> Result<Vec<UsageDay>, ServiceError> {
        Ok(self.registry.metadata().days(limit).await?)
    }

    /// What keeps a manifest, naming up to `limit` holders of each kind.
    pub(in crate::http::api) async fn why_manifest(
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
    pub(in crate::http::api) async fn verdicts(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Vec<Row>>, RetentionError> {
        let _turn = self.report.acquire().await;
        self.retention.verdicts(name, digest).await
    }

    /// The rule that pins a manifest, if there is one.
    pub(in crate::http::api) async fn pin(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<String>, ServiceError> {
        Ok(self.registry.metadata().pin(name, digest).await?)
    }

    /// What keeps a blob, naming up to `limit` holders of each kind.
    pub(in crate::http::api) async fn why_blob(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<BlobWhy>, ServiceError> {
        let _turn = self.report.acquire().await;
        let rules = self.collector.rules().await?;
        Ok(self.registry.metadata().why_blob(digest, &rules, limit).await?)
    }

    /// Whether a repository has a blob.
    pub(in crate::http::api) async fn has_blob(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<bool, ServiceError> {
        Ok(self.registry.metadata().blob(name, digest).await?.is_some())
    }

    /// The first `limit` repositories that have a manifest.
    pub(in crate::http::api) async fn repositories_of(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Vec<RepoName>, ServiceError> {
        Ok(self.registry.metadata().manifest_repositories(digest, limit).await?)
    }

    /// A repository opened for reading.
    fn view(&self, name: RepoName) -> Repository {
        self.registry.repository(name, Access { push: false })
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
