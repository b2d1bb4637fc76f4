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
use crate::http::access::delegate;
use crate::jobs::Retention;
use crate::jobs::retention::{InForce, RetentionError, Row};
use crate::metadata::{
    HistoryEntry, ListPage, ListQuery, ManifestWhy, RepositoryEntry, RepositoryStep, SortKey, TagEntry,
};
use crate::oci::{Digest, Reference, RepoName, Tag};
use crate::registry::{
    Access, Emptied, ManifestDetail, ManifestError, Page, Registry, Repository, ServiceError,
    TrashListingPage, TrashListingPosition,
};

/// The right to read one repository. As an extractor, it is for the repository in the path.
pub(in crate::http::api) struct Reader {
    api: Arc<Api>,
    repository: Repository,
}

impl Reader {
    pub(super) fn new(api: Arc<Api>, name: RepoName) -> Self {
        let repository = api.view.registry.repository(name, Access { push: false });
        Self { api, repository }
    }

    /// The name of the repository.
    pub(crate) fn name(&self) -> &RepoName {
        self.repository.name()
    }

    /// Read operations that do not depend on a repository.
    pub(crate) fn view(&self) -> &View {
        &self.api.view
    }

    pub(crate) fn in_force(&self) -> Arc<InForce> {
        self.api.view.in_force()
    }

    delegate! {
        async fn tag_entry(&self, tag: &Tag) -> Result<TagEntry, ManifestError>;
        async fn manifest_detail(&self, digest: &Digest) -> Result<ManifestDetail, ManifestError>;
        async fn tag_history(
            &self, tag: &Tag, before: Option<i64>, limit: usize
        ) -> Result<Page<HistoryEntry>, ServiceError>;
        async fn history(&self, before: Option<i64>, limit: usize) -> Result<Page<HistoryEntry>, ServiceError>;
        async fn work(&self) -> Result<Option<RepositoryStep>, ServiceError>;
    }

    pub(crate) async fn repository(&self) -> Result<Option<RepositoryEntry>, ServiceError> {
        self.api.view.registry.repository_entry(self.name()).await
    }

    pub(crate) async fn tags(&self, query: &ListQuery) -> Result<ListPage<TagEntry>, ManifestError> {
        // Sorting by size reads all tags, like a report.
        let _turn = match query.sort {
            SortKey::Size => self.api.view.report.acquire().await.ok(),
            SortKey::Name | SortKey::Pushed | SortKey::Pulled => None,
        };
        self.repository.list_tags(query).await
    }

    pub(crate) async fn list_trash(
        &self,
        after: Option<TrashListingPosition>,
        limit: usize,
    ) -> Result<TrashListingPage, ServiceError> {
        self.api.view.list_trash(Some(self.name()), after, limit).await
    }

    pub(crate) async fn why_manifest(
        &self,
        reference: &Reference,
        limit: usize,
    ) -> Result<Option<ManifestWhy>, ServiceError> {
        self.api.view.why_manifest(self.name(), reference, limit).await
    }

    pub(crate) async fn verdicts(&self, digest: &Digest) -> Result<Option<Vec<Row>>, RetentionError> {
        self.api.view.verdicts(self.name(), digest).await
    }

    /// The rule that pins a manifest, if there is one.
    pub(crate) async fn pin(&self, digest: &Digest) -> Result<Option<String>, ServiceError> {
        Ok(self.api.view.metadata().pin(self.name(), digest).await?)
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

    /// The right to read one of the repositories.
    pub(crate) fn reader(&self, name: RepoName) -> Reader {
        Reader::new(Arc::clone(&self.0), name)
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
pub(in crate::http::api) struct SelfService(Arc<Api>);

impl SelfService {
    pub(crate) fn health(&self) -> &dyn Health {
        &*self.0.view.health
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.view.now()
    }

    pub(crate) fn started_at(&self) -> Timestamp {
        self.0.view.started_at
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.0.view.registry.settings().read_only
    }
}

impl FromRequestParts<Arc<Api>> for SelfService {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let requester = Requester::from_parts(parts, api)?;
        requester.require_any_access()?;
        Ok(Self(Arc::clone(api)))
    }
}

/// The action that a [`Changer`] is allowed to do.
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
    pub(crate) fn into_reader(self) -> Reader {
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
    pub(crate) fn by(&self) -> &str {
        &self.by
    }

    /// Empties the trash of one repository or of all.
    pub(crate) async fn empty_trash(&self, repository: Option<&RepoName>) -> Result<Emptied, ServiceError> {
        self.api.view.registry.empty_whole_trash(repository).await
    }

    /// The registry.
    pub(crate) fn registry(&self) -> &Registry {
        &self.api.view.registry
    }

    /// The retention job.
    pub(crate) fn retention(&self) -> &Arc<Retention> {
        &self.api.view.retention
    }
}

impl FromRequestParts<Arc<Api>> for RegistryAdmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        Requester::from_parts(parts, api)?.registry_admin()
    }
}
