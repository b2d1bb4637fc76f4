//! What reads, a method each, over the whole registry. Handlers get it only through what was decided for them.

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
    BlobWhy, DamagedBlob, HistoryEntry, ListPage, ListQuery, ManifestWhy, MetadataStore, RepositoryEntry,
    RepositoryStep, Scope, SortKey, TagEntry, UsageDay, Visible,
};
use crate::oci::{Digest, Reference, RepoName, Tag};
use crate::registry::{
    Access, ManifestDetail, ManifestError, Page, RecoverableKind, RecoverablePage, RecoverablePlace,
    Registry, Repository, ServiceError,
};

/// All that can be read.
pub(in crate::http::api) struct View {
    pub(super) registry: Arc<Registry>,
    pub(super) collector: Arc<Collector>,
    pub(super) health: Arc<dyn Health>,
    pub(super) scrub: Arc<Scrub>,
    pub(super) settings: ApiSettings,
    pub(super) retention: Arc<Retention>,
    pub(super) started_at: Timestamp,
    /// A report looks at much: one does so at a time, whoever asks.
    pub(super) report: Semaphore,
}

impl View {
    /// What policies do.
    pub(in crate::http::api) fn retention(&self) -> &Arc<Retention> {
        &self.retention
    }

    /// The policies in force.
    pub(in crate::http::api) fn in_force(&self) -> Arc<InForce> {
        self.retention.book().in_force()
    }

    /// The registry's facts, to be read.
    pub(in crate::http::api) fn metadata(&self) -> &dyn MetadataStore {
        self.registry.metadata().as_ref()
    }

    /// Whether the registry can work.
    pub(in crate::http::api) fn health(&self) -> &dyn Health {
        self.health.as_ref()
    }

    /// Now.
    pub(in crate::http::api) fn now(&self) -> Timestamp {
        self.registry.clock().now()
    }

    /// When it began to serve.
    pub(in crate::http::api) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Whether the registry takes no change at all.
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

    /// Whether there is a repository, be it that all of it is in the trash.
    pub(in crate::http::api) async fn has_repository(&self, name: &RepoName) -> Result<bool, ServiceError> {
        Ok(self.registry.metadata().repository_exists(name).await?)
    }

    /// A page of a repository's tags.
    pub(in crate::http::api) async fn tags(
        &self,
        name: RepoName,
        query: &ListQuery,
    ) -> Result<ListPage<TagEntry>, ManifestError> {
        // All tags are looked at for it, as for a report.
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

    /// How the last deletion or restoration of a repository stands.
    pub(in crate::http::api) async fn work(
        &self,
        name: RepoName,
    ) -> Result<Option<RepositoryStep>, ServiceError> {
        self.view(name).work().await
    }

    /// A page of what can be brought back.
    pub(in crate::http::api) async fn recoverable(
        &self,
        repository: Option<&RepoName>,
        after: Option<RecoverablePlace>,
        limit: usize,
    ) -> Result<RecoverablePage, ServiceError> {
        self.registry.recoverable(repository, after, limit).await
    }

    /// Until when something can be brought back that was removed then.
    pub(in crate::http::api) fn kept_until(&self, kind: RecoverableKind, removed_at: Timestamp) -> Timestamp {
        removed_at.plus(match kind {
            RecoverableKind::Manifest => self.settings.trash,
            RecoverableKind::Tag => self.registry.settings().history_removed,
        })
    }

    /// A page of the blobs that are set aside.
    pub(in crate::http::api) async fn damaged(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<DamagedBlob>, ServiceError> {
        self.registry.damaged(after, limit).await
    }

    /// How far the scrub is.
    pub(in crate::http::api) async fn scrub(&self) -> Result<ScrubReport, ServiceError> {
        self.scrub.report().await
    }

    /// What the repositories of `scope` use.
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

    /// What keeps a manifest, with up to `limit` holders of each kind by name.
    pub(in crate::http::api) async fn why_manifest(
        &self,
        name: &RepoName,
        reference: &Reference,
        limit: usize,
    ) -> Result<Option<ManifestWhy>, ServiceError> {
        let _turn = self.report.acquire().await;
        self.registry.settle_pulls().await;
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

    /// Which rule pins a manifest, if one does.
    pub(in crate::http::api) async fn pin(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<String>, ServiceError> {
        Ok(self.registry.metadata().pin(name, digest).await?)
    }

    /// What keeps a blob, likewise.
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

    /// A repository that is only looked at.
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
    use crate::metadata::sqlite::{Access, SqliteMetadata};
    use crate::oci::{Algorithm, Hasher};
    use crate::registry::Settings;
    use crate::store::MemoryStore;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn view(facts: &std::path::Path) -> View {
        let metadata = Arc::new(SqliteMetadata::open(facts, Access::ReadWrite).expect("metadata"));
        let clock = Arc::new(ManualClock::at(Timestamp(1)));
        let registry = Registry::new(Arc::new(MemoryStore::new()), metadata, clock, Settings::default());
        let rules = CollectorSettings { trash: DAY, untagged: None, upload_expiry: DAY, batch: 1 };
        let collector = Arc::new(Collector::new(Arc::clone(&registry), rules));
        let scrub = Arc::new(Scrub::new(Arc::clone(&registry), ScrubSettings { period: None, rate: 1 }));
        let settings = ApiSettings { changes: Changes::Socket, trash: DAY };
        let batch = RetentionSettings { batch: 1 };
        let retention = Arc::new(Retention::new(Arc::clone(&registry), Arc::default(), batch));
        let (started_at, report, health) = (Timestamp(1), Semaphore::new(1), Arc::new(AlwaysReady));
        View { registry, collector, health, scrub, settings, retention, started_at, report }
    }

    #[tokio::test]
    async fn a_report_waits_for_the_one_before() {
        let facts = tempfile::tempdir().expect("a folder");
        let (view, name) = (view(facts.path()), "app".parse().expect("a name"));
        let digest = Hasher::digest(Algorithm::Sha256, b"a");
        let another = view.report.acquire().await.expect("a turn");
        let waiting = tokio::time::timeout(Duration::from_millis(50), view.verdicts(&name, &digest)).await;
        assert!(waiting.is_err(), "{waiting:?}");
        drop(another);
        assert!(view.verdicts(&name, &digest).await.expect("told").is_some());
    }
}
