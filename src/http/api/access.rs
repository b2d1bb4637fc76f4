//! Who may do what through the API, in one place.
//!
//! Handlers reach the registry by two doors only: [`Api`], which has what reads, and [`MayChange`], which has
//! the rest and which only a request that may change something gets. As long as there are no accounts that
//! is one that came through the admin socket, unless the operator trusts everybody.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use tokio::sync::Semaphore;

use super::Problem;
use crate::auth;
use crate::clock::Timestamp;
use crate::http::Health;
use crate::http::listen::Peer;
use crate::jobs::Collector;
use crate::jobs::usage::{UsageReport, usage};
use crate::metadata::{BlobWhy, ListQuery, ManifestWhy, RepositoryEntry, Scope, TagEntry, UsageDay};
use crate::oci::{Digest, Reference, RepoName, Tag};
use crate::registry::{Fault, ManifestDetail, ManifestError, Page, Registry, Repository};

/// Who may change something through the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Changes {
    /// Whoever may use the admin socket.
    #[default]
    Socket,
    /// Whoever reaches the port.
    Anyone,
}

/// What the API answers from: what reads is here, a method each.
pub struct Api {
    registry: Arc<Registry>,
    collector: Arc<Collector>,
    health: Arc<dyn Health>,
    changes: Changes,
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
        changes: Changes,
    ) -> Self {
        let started_at = registry.clock().now();
        Self { registry, collector, health, changes, started_at, report: Semaphore::new(1) }
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

    /// What the repositories of `scope` use.
    pub(super) async fn usage(&self, scope: &Scope) -> Result<UsageReport, Fault> {
        let _turn = self.report.acquire().await;
        usage(&self.registry, &self.collector.rules(), scope).await
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
        let rules = self.collector.rules();
        Ok(self.registry.metadata().why_manifest(name, reference, &rules, limit).await?)
    }

    /// What keeps a blob, likewise.
    pub(super) async fn why_blob(&self, digest: &Digest, limit: usize) -> Result<Option<BlobWhy>, Fault> {
        let rules = self.collector.rules();
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
        self.registry.repository(name, auth::anonymous()).viewed()
    }
}

/// The right to change something. It has to be a handler's first argument, so that nobody is told anything
/// about the rest of a request that is refused.
pub(super) struct MayChange(Arc<Registry>);

impl MayChange {
    /// A repository that may be changed.
    pub(super) fn repository(&self, name: RepoName) -> Repository {
        self.0.repository(name, auth::anonymous())
    }
}

const REFUSAL: &str = "changes through the API are taken on the server's admin socket alone, which the orlop \
                       command uses; the setting api.changes = \"anyone\" takes them from whoever reaches the port";

impl FromRequestParts<Arc<Api>> for MayChange {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let on_socket = parts.extensions.get::<Peer>() == Some(&Peer::Unix);
        if on_socket || api.changes == Changes::Anyone {
            return Ok(Self(Arc::clone(&api.registry)));
        }
        Err(Problem::new(StatusCode::FORBIDDEN, REFUSAL))
    }
}
