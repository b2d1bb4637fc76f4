//! Who may do what through the API, in one place.
//!
//! Handlers reach the registry by two doors only: [`Api`], which has what reads, and [`MayChange`], which has
//! the rest and which only a request that may change something gets. As long as there are no accounts that
//! is one that came through the admin socket, unless the operator trusts everybody.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use tokio::sync::Semaphore;

use super::Problem;
use crate::auth::{self, Caller};
use crate::clock::Timestamp;
use crate::http::Health;
use crate::http::listen::Peer;
use crate::jobs::retention::{InForce, RetentionError, Row};
use crate::jobs::scrub::ScrubReport;
use crate::jobs::usage::{UsageReport, usage};
use crate::jobs::{Collector, Retention, Scrub};
use crate::metadata::{
    BlobWhy, DamagedBlob, HistoryEntry, ListQuery, ManifestWhy, MetadataStore, RepositoryEntry,
    RepositoryStep, Scope, TagEntry, UsageDay,
};
use crate::oci::{Digest, Reference, RepoName, Tag};
use crate::registry::{
    Emptied, Fault, ManifestDetail, ManifestError, Page, RecoverableKind, RecoverablePage, RecoverablePlace,
    Registry, Repository,
};

/// Who may change something through the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Changes {
    /// Whoever may use the admin socket.
    #[default]
    Socket,
    /// Whoever reaches the port.
    Anyone,
}

/// What the API can be told.
#[derive(Debug, Clone, Copy)]
pub struct ApiSettings {
    /// Who may change something.
    pub changes: Changes,
    /// How long what was removed is kept in the trash.
    pub trash: Duration,
}

/// What the API answers from: what reads is here, a method each.
pub struct Api {
    registry: Arc<Registry>,
    collector: Arc<Collector>,
    health: Arc<dyn Health>,
    scrub: Arc<Scrub>,
    settings: ApiSettings,
    retention: Arc<Retention>,
    started_at: Timestamp,
    /// A report looks at much: one does so at a time, whoever asks.
    report: Semaphore,
}

impl Api {
    /// An API over `registry`, from now on. What may go, and when, is told by the rules of `collector`.
    pub fn new(
        registry: Arc<Registry>,
        collector: Arc<Collector>,
        health: Arc<dyn Health>,
        scrub: Arc<Scrub>,
        retention: Arc<Retention>,
        settings: ApiSettings,
    ) -> Self {
        let (started_at, report) = (registry.clock().now(), Semaphore::new(1));
        Self { registry, collector, health, scrub, settings, retention, started_at, report }
    }

    /// What policies do.
    pub(super) fn retention(&self) -> &Arc<Retention> {
        &self.retention
    }

    /// The policies in force.
    pub(super) fn in_force(&self) -> Arc<InForce> {
        self.retention.book().in_force()
    }

    /// The registry's facts, to be read.
    pub(super) fn metadata(&self) -> &dyn MetadataStore {
        self.registry.metadata().as_ref()
    }

    /// Whether the registry can work.
    pub(super) fn health(&self) -> &dyn Health {
        self.health.as_ref()
    }

    /// Now.
    pub(super) fn now(&self) -> Timestamp {
        self.registry.clock().now()
    }

    /// When it began to serve.
    pub(super) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Whether the registry takes no change at all.
    pub(super) fn is_read_only(&self) -> bool {
        self.registry.settings().read_only
    }

    /// A page of repositories.
    pub(super) async fn repositories(&self, query: &ListQuery) -> Result<Page<RepositoryEntry>, Fault> {
        self.registry.list_repositories(query).await
    }

    /// A repository.
    pub(super) async fn repository(&self, name: &RepoName) -> Result<Option<RepositoryEntry>, Fault> {
        self.registry.repository_entry(name).await
    }

    /// Whether there is a repository, be it that all of it is in the trash.
    pub(super) async fn has_repository(&self, name: &RepoName) -> Result<bool, Fault> {
        Ok(self.registry.metadata().repository_exists(name).await?)
    }

    /// A page of a repository's tags.
    pub(super) async fn tags(
        &self,
        name: RepoName,
        query: &ListQuery,
    ) -> Result<Page<TagEntry>, ManifestError> {
        self.view(name).list_tags(query).await
    }

    /// A tag.
    pub(super) async fn tag(&self, name: RepoName, tag: &Tag) -> Result<TagEntry, ManifestError> {
        self.view(name).tag_entry(tag).await
    }

    /// A manifest.
    pub(super) async fn manifest(
        &self,
        name: RepoName,
        digest: &Digest,
    ) -> Result<ManifestDetail, ManifestError> {
        self.view(name).manifest_detail(digest).await
    }

    /// A page of a tag's history.
    pub(super) async fn tag_history(
        &self,
        name: RepoName,
        tag: &Tag,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, Fault> {
        self.view(name).tag_history(tag, before, limit).await
    }

    /// A page of a repository's own history.
    pub(super) async fn history(
        &self,
        name: RepoName,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, Fault> {
        self.view(name).history(before, limit).await
    }

    /// How the last deletion or restoration of a repository stands.
    pub(super) async fn work(&self, name: RepoName) -> Result<Option<RepositoryStep>, Fault> {
        self.view(name).work().await
    }

    /// A page of what can be brought back.
    pub(super) async fn recoverable(
        &self,
        repository: Option<&RepoName>,
        after: Option<RecoverablePlace>,
        limit: usize,
    ) -> Result<RecoverablePage, Fault> {
        self.registry.recoverable(repository, after, limit).await
    }

    /// Until when something can be brought back that was removed then.
    pub(super) fn kept_until(&self, kind: RecoverableKind, removed_at: Timestamp) -> Timestamp {
        removed_at.plus(match kind {
            RecoverableKind::Manifest => self.settings.trash,
            RecoverableKind::Tag => self.registry.settings().history_removed,
        })
    }

    /// A page of the blobs that are set aside.
    pub(super) async fn damaged(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<DamagedBlob>, Fault> {
        self.registry.damaged(after, limit).await
    }

    /// How far the scrub is.
    pub(super) async fn scrub(&self) -> Result<ScrubReport, Fault> {
        self.scrub.report().await
    }

    /// What the repositories of `scope` use.
    pub(super) async fn usage(&self, scope: &Scope) -> Result<UsageReport, Fault> {
        let _turn = self.report.acquire().await;
        usage(&self.registry, &self.collector.rules().await?, scope).await
    }

    /// The last `limit` days of growth.
    pub(super) async fn usage_days(&self, limit: usize) -> Result<Vec<UsageDay>, Fault> {
        Ok(self.registry.metadata().days(limit).await?)
    }

    /// What keeps a manifest, with up to `limit` holders of each kind by name.
    pub(super) async fn why_manifest(
        &self,
        name: &RepoName,
        reference: &Reference,
        limit: usize,
    ) -> Result<Option<ManifestWhy>, Fault> {
        let _turn = self.report.acquire().await;
        let rules = self.collector.rules().await?;
        Ok(self.registry.metadata().why_manifest(name, reference, &rules, limit).await?)
    }

    /// What policies would do to a manifest and its tags.
    pub(super) async fn verdicts(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Vec<Row>>, RetentionError> {
        let _turn = self.report.acquire().await;
        self.retention.verdicts(name, digest).await
    }

    /// Which rule pins a manifest, if one does.
    pub(super) async fn pin(&self, name: &RepoName, digest: &Digest) -> Result<Option<String>, Fault> {
        Ok(self.registry.metadata().pin(name, digest).await?)
    }

    /// What keeps a blob, likewise.
    pub(super) async fn why_blob(&self, digest: &Digest, limit: usize) -> Result<Option<BlobWhy>, Fault> {
        let rules = self.collector.rules().await?;
        Ok(self.registry.metadata().why_blob(digest, &rules, limit).await?)
    }

    /// Whether a repository has a blob.
    pub(super) async fn has_blob(&self, name: &RepoName, digest: &Digest) -> Result<bool, Fault> {
        Ok(self.registry.metadata().blob(name, digest).await?.is_some())
    }

    /// The first `limit` repositories that have a manifest.
    pub(super) async fn repositories_of(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Vec<RepoName>, Fault> {
        Ok(self.registry.metadata().manifest_repositories(digest, limit).await?)
    }

    /// A repository that is only looked at.
    fn view(&self, name: RepoName) -> Repository {
        self.registry.repository(name, auth::everything()).viewed()
    }
}

/// The right to change something. It has to be a handler's first argument, so that nobody is told anything
/// about the rest of a request that is refused.
pub(super) struct MayChange {
    registry: Arc<Registry>,
    retention: Arc<Retention>,
    by: String,
}

impl MayChange {
    /// A repository that may be changed.
    pub(super) fn repository(&self, name: RepoName) -> Repository {
        self.registry.repository(name, auth::everything()).on_behalf_of(&self.by)
    }

    /// Who changes something.
    pub(super) fn by(&self) -> &str {
        &self.by
    }

    /// Gives up what is in the trash, of a repository or of all.
    pub(super) async fn empty_trash(&self, repository: Option<&RepoName>) -> Result<Emptied, Fault> {
        self.registry.empty_whole_trash(repository).await
    }

    /// The registry.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What policies do.
    pub(super) fn retention(&self) -> &Arc<Retention> {
        &self.retention
    }
}

const REFUSAL: &str = "changes through the API are taken on the server's admin socket alone, which the orlop \
                       command uses; the setting api.changes = \"anyone\" takes them from whoever reaches the port";

impl FromRequestParts<Arc<Api>> for MayChange {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>().copied();
        match (peer, api.settings.changes) {
            (Some(peer @ Peer::Unix), _) | (Some(peer), Changes::Anyone) => {
                let (registry, retention) = (Arc::clone(&api.registry), Arc::clone(&api.retention));
                let caller = parts.extensions.get::<Caller>().unwrap_or(&Caller::Anybody);
                let by = caller.name_or(|| peer.name());
                Ok(Self { registry, retention, by })
            }
            (None, _) | (_, Changes::Socket) => Err(Problem::new(StatusCode::FORBIDDEN, REFUSAL)),
        }
    }
}

#[cfg(test)]
mod tests {
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

    fn api(facts: &std::path::Path) -> Api {
        let metadata = Arc::new(SqliteMetadata::open(facts, Access::ReadWrite).expect("metadata"));
        let clock = Arc::new(ManualClock::at(Timestamp(1)));
        let registry = Registry::new(Arc::new(MemoryStore::new()), metadata, clock, Settings::default());
        let rules = CollectorSettings { trash: DAY, untagged: None, upload_expiry: DAY, batch: 1 };
        let collector = Arc::new(Collector::new(Arc::clone(&registry), rules));
        let scrub = Arc::new(Scrub::new(Arc::clone(&registry), ScrubSettings { period: None, rate: 1 }));
        let settings = ApiSettings { changes: Changes::Socket, trash: DAY };
        let batch = RetentionSettings { batch: 1 };
        let retention = Arc::new(Retention::new(Arc::clone(&registry), Arc::default(), batch));
        Api::new(registry, collector, Arc::new(AlwaysReady), scrub, retention, settings)
    }

    #[tokio::test]
    async fn a_report_waits_for_the_one_before() {
        let facts = tempfile::tempdir().expect("a folder");
        let (api, name) = (api(facts.path()), "app".parse().expect("a name"));
        let digest = Hasher::digest(Algorithm::Sha256, b"a");
        let another = api.report.acquire().await.expect("a turn");
        let waiting = tokio::time::timeout(Duration::from_millis(50), api.verdicts(&name, &digest)).await;
        assert!(waiting.is_err(), "{waiting:?}");
        drop(another);
        assert!(api.verdicts(&name, &digest).await.expect("told").is_some());
    }
}
