//! Rights as types: a handler that takes one runs only if access control granted it.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::super::Problem;
use super::{Api, Requester, View, repository_in_path};
use crate::auth::Action;
use crate::clock::Timestamp;
use crate::http::Health;
use crate::jobs::Retention;
use crate::jobs::retention::RetentionError;
use crate::metadata::{HistoryEntry, ListPage, ListQuery, Page, RepositoryEntry, RepositoryStep};
use crate::oci::{Digest, Reference, RepoName, Tag};
use crate::registry::{Emptied, ManifestError, Registry, Repository, ServiceError};
use crate::reports::{ListedTag, ManifestDetail, Reports, TrashListingPage, TrashListingPosition, Why};

/// The right to read one repository. A handler that extracts it gets it for the repository in the path.
pub(in crate::http::api) struct Reader {
    api: Arc<Api>,
    name: RepoName,
}

impl Reader {
    pub(super) fn new(api: Arc<Api>, name: RepoName) -> Self {
        Self { api, name }
    }

    /// The name of the repository.
    pub(in crate::http::api) fn name(&self) -> &RepoName {
        &self.name
    }

    fn reports(&self) -> &Reports {
        &self.api.view.reports
    }

    pub(in crate::http::api) async fn repository(&self) -> Result<Option<RepositoryEntry>, ServiceError> {
        self.reports().repository(&self.name).await
    }

    pub(in crate::http::api) async fn tags(
        &self,
        query: &ListQuery,
    ) -> Result<ListPage<ListedTag>, ManifestError> {
        self.reports().tags(&self.name, query).await
    }

    pub(in crate::http::api) async fn tag(&self, tag: &Tag) -> Result<ListedTag, ManifestError> {
        self.reports().tag(&self.name, tag).await
    }

    pub(in crate::http::api) async fn manifest(
        &self,
        digest: &Digest,
    ) -> Result<ManifestDetail, ManifestError> {
        self.reports().manifest(&self.name, digest).await
    }

    /// The history of a tag, or of the repository itself.
    pub(in crate::http::api) async fn history(
        &self,
        tag: Option<&Tag>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, ServiceError> {
        self.reports().history(&self.name, tag, before, limit).await
    }

    pub(in crate::http::api) async fn work(&self) -> Result<Option<RepositoryStep>, ServiceError> {
        self.api.view.work(self.name.clone()).await
    }

    pub(in crate::http::api) async fn trash(
        &self,
        after: Option<TrashListingPosition>,
        limit: usize,
    ) -> Result<TrashListingPage, ServiceError> {
        self.reports().trash(Some(&self.name), after, limit).await
    }

    pub(in crate::http::api) async fn why(
        &self,
        reference: &Reference,
    ) -> Result<Option<Why>, RetentionError> {
        self.reports().why_manifest(&self.name, reference).await
    }
}

impl FromRequestParts<Arc<Api>> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let requester = Requester::from_parts(parts, api)?;
        let name = repository_in_path(parts, &requester).await?;
        requester.reader(name)
    }
}

/// The right to read everything.
pub(in crate::http::api) struct RegistryReader(Arc<Api>);

impl RegistryReader {
    pub(super) fn new(api: Arc<Api>) -> Self {
        Self(api)
    }
}

impl Deref for RegistryReader {
    type Target = View;

    fn deref(&self) -> &View {
        &self.0.view
    }
}

impl FromRequestParts<Arc<Api>> for RegistryReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        Requester::from_parts(parts, api)?.registry_reader()
    }
}

/// The right to read what reveals nothing about any repository, such as the status and the presets.
pub(in crate::http::api) struct AnyAccess(Arc<Api>);

impl AnyAccess {
    pub(in crate::http::api) fn health(&self) -> &dyn Health {
        self.0.view.health.as_ref()
    }

    pub(in crate::http::api) fn now(&self) -> Timestamp {
        self.0.view.registry.clock().now()
    }

    pub(in crate::http::api) fn started_at(&self) -> Timestamp {
        self.0.view.started_at
    }

    pub(in crate::http::api) fn is_read_only(&self) -> bool {
        self.0.view.registry.settings().read_only
    }
}

impl FromRequestParts<Arc<Api>> for AnyAccess {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let requester = Requester::from_parts(parts, api)?;
        requester.require_any_access()?;
        Ok(Self(Arc::clone(api)))
    }
}

/// The action that a [`Changer`] may perform.
pub(in crate::http::api) trait ChangeAction: Send {
    /// The action that access control decides on.
    const ACTION: Action;
}

/// Pushes content and moves tags.
pub(in crate::http::api) struct Pushes;
/// Deletes content.
pub(in crate::http::api) struct Deletes;
/// Administers the repository.
pub(in crate::http::api) struct Administers;

impl ChangeAction for Pushes {
    const ACTION: Action = Action::Push;
}

impl ChangeAction for Deletes {
    const ACTION: Action = Action::Delete;
}

impl ChangeAction for Administers {
    const ACTION: Action = Action::Administer;
}

/// The right to change the repository in the path.
pub(in crate::http::api) struct Changer<D> {
    pub(in crate::http::api) repository: Repository,
    /// The client that has the right.
    pub(in crate::http::api) requester: Requester,
    action: PhantomData<D>,
}

impl<D> Changer<D> {
    /// The right to read the repository: a client that may change it may see the result of the change.
    pub(in crate::http::api) fn into_reader(self) -> Reader {
        Reader::new(self.requester.api, self.repository.name().clone())
    }
}

impl<D: ChangeAction> FromRequestParts<Arc<Api>> for Changer<D> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let requester = Requester::from_parts(parts, api)?;
        let name = repository_in_path(parts, &requester).await?;
        let repository = requester.changer(name, D::ACTION)?;
        Ok(Self { repository, requester, action: PhantomData })
    }
}

/// The right to change what belongs to the operator: policies and the whole trash.
pub(in crate::http::api) struct RegistryAdmin {
    api: Arc<Api>,
    by: String,
}

impl RegistryAdmin {
    pub(super) fn new(api: Arc<Api>, by: String) -> Self {
        Self { api, by }
    }

    /// The name of the author of a change.
    pub(in crate::http::api) fn by(&self) -> &str {
        &self.by
    }

    /// Empties the trash of one repository or of all.
    pub(in crate::http::api) async fn empty_trash(
        &self,
        repository: Option<&RepoName>,
    ) -> Result<Emptied, ServiceError> {
        self.api.view.registry.empty_whole_trash(repository).await
    }

    /// The registry.
    pub(in crate::http::api) fn registry(&self) -> &Registry {
        &self.api.view.registry
    }

    /// The retention job.
    pub(in crate::http::api) fn retention(&self) -> &Arc<Retention> {
        &self.api.view.retention
    }
}

impl FromRequestParts<Arc<Api>> for RegistryAdmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        Requester::from_parts(parts, api)?.registry_admin()
    }
}
