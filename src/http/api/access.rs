//! Who may do what through the API, in one place.
//!
//! Handlers reach the registry by two doors only: [`Api`], which has what reads, and [`MayChange`], which has
//! the rest and which only a request that may change something gets. As long as there are no accounts that
//! is one that came through the admin socket, unless the operator trusts everybody.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;

use super::Problem;
use crate::auth;
use crate::clock::Timestamp;
use crate::http::Health;
use crate::http::listen::Peer;
use crate::jobs::Retention;
use crate::jobs::retention::RetentionSettings;
use crate::metadata::{ListQuery, MetadataStore, RepositoryEntry, TagEntry};
use crate::oci::{Digest, RepoName, Tag};
use crate::registry::{Fault, ManifestDetail, ManifestError, Page, Registry, Repository};

/// How many steps of a plan are done at once where nothing is said.
const BATCH: usize = 500;

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
    health: Arc<dyn Health>,
    changes: Changes,
    retention: Arc<Retention>,
    started_at: Timestamp,
}

impl Api {
    /// An API over `registry`, from now on.
    pub fn new(registry: Arc<Registry>, health: Arc<dyn Health>, changes: Changes) -> Self {
        let started_at = registry.clock().now();
        let settings = RetentionSettings { lease: registry.settings().lease, batch: BATCH };
        let retention = Retention::new(Arc::clone(&registry), Arc::default(), settings);
        Self { registry, health, changes, retention: Arc::new(retention), started_at }
    }

    /// The same with the policies that are in force.
    #[must_use]
    pub fn with_retention(self, retention: Arc<Retention>) -> Self {
        Self { retention, ..self }
    }

    /// What policies do.
    pub(super) fn retention(&self) -> &Arc<Retention> {
        &self.retention
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

    /// A repository that is only looked at.
    fn view(&self, name: RepoName) -> Repository {
        self.registry.repository(name, auth::anonymous()).viewed()
    }
}

/// The right to change something. It has to be a handler's first argument, so that nobody is told anything
/// about the rest of a request that is refused.
pub(super) struct MayChange(Arc<Registry>, Arc<Retention>);

impl MayChange {
    /// A repository that may be changed.
    pub(super) fn repository(&self, name: RepoName) -> Repository {
        self.0.repository(name, auth::anonymous())
    }

    /// The registry.
    pub(super) fn registry(&self) -> &Registry {
        &self.0
    }

    /// What policies do.
    pub(super) fn retention(&self) -> &Arc<Retention> {
        &self.1
    }
}

const REFUSAL: &str = "changes through the API are taken on the server's admin socket alone, which the orlop \
                       command uses; the setting api.changes = \"anyone\" takes them from whoever reaches the port";

impl FromRequestParts<Arc<Api>> for MayChange {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let on_socket = parts.extensions.get::<Peer>() == Some(&Peer::Unix);
        if on_socket || api.changes == Changes::Anyone {
            return Ok(Self(Arc::clone(&api.registry), Arc::clone(&api.retention)));
        }
        Err(Problem::new(StatusCode::FORBIDDEN, REFUSAL))
    }
}
