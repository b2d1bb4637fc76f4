//! What was decided: a right in a type.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::super::Problem;
use super::{Api, Requester, View, named};
use crate::auth::Action;
use crate::clock::Timestamp;
use crate::http::Health;
use crate::jobs::Retention;
use crate::jobs::retention::{InForce, RetentionError, Row};
use crate::metadata::{
    HistoryEntry, ListPage, ListQuery, ManifestWhy, RepositoryEntry, RepositoryStep, TagEntry,
};
use crate::oci::{Digest, Reference, RepoName, Tag};
use crate::registry::{
    Emptied, ManifestDetail, ManifestError, Page, RecoverablePage, RecoverablePlace, Registry, Repository,
    ServiceError,
};

/// The right to read one repository: that of the path, or the one that it was decided for.
pub(in crate::http::api) struct Reader {
    api: Arc<Api>,
    name: RepoName,
}

impl Reader {
    pub(super) fn new(api: Arc<Api>, name: RepoName) -> Self {
        Self { api, name }
    }

    /// Its name.
    pub(in crate::http::api) fn name(&self) -> &RepoName {
        &self.name
    }

    /// What does not depend on a repository.
    pub(in crate::http::api) fn view(&self) -> &View {
        &self.api.view
    }

    pub(in crate::http::api) fn in_force(&self) -> Arc<InForce> {
        self.api.view.in_force()
    }

    pub(in crate::http::api) async fn repository(&self) -> Result<Option<RepositoryEntry>, ServiceError> {
        self.api.view.repository(&self.name).await
    }

    pub(in crate::http::api) async fn tags(
        &self,
        query: &ListQuery,
    ) -> Result<ListPage<TagEntry>, ManifestError> {
        self.api.view.tags(self.name.clone(), query).await
    }

    pub(in crate::http::api) async fn tag(&self, tag: &Tag) -> Result<TagEntry, ManifestError> {
        self.api.view.tag(self.name.clone(), tag).await
    }

    pub(in crate::http::api) async fn manifest(
        &self,
        digest: &Digest,
    ) -> Result<ManifestDetail, ManifestError> {
        self.api.view.manifest(self.name.clone(), digest).await
    }

    pub(in crate::http::api) async fn tag_history(
        &self,
        tag: &Tag,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, ServiceError> {
        self.api.view.tag_history(self.name.clone(), tag, before, limit).await
    }

    pub(in crate::http::api) async fn history(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, ServiceError> {
        self.api.view.history(self.name.clone(), before, limit).await
    }

    pub(in crate::http::api) async fn work(&self) -> Result<Option<RepositoryStep>, ServiceError> {
        self.api.view.work(self.name.clone()).await
    }

    pub(in crate::http::api) async fn recoverable(
        &self,
        after: Option<RecoverablePlace>,
        limit: usize,
    ) -> Result<RecoverablePage, ServiceError> {
        self.api.view.recoverable(Some(&self.name), after, limit).await
    }

    pub(in crate::http::api) async fn why_manifest(
        &self,
        reference: &Reference,
        limit: usize,
    ) -> Result<Option<ManifestWhy>, ServiceError> {
        self.api.view.why_manifest(&self.name, reference, limit).await
    }

    pub(in crate::http::api) async fn verdicts(
        &self,
        digest: &Digest,
    ) -> Result<Option<Vec<Row>>, RetentionError> {
        self.api.view.verdicts(&self.name, digest).await
    }

    pub(in crate::http::api) async fn pin(&self, digest: &Digest) -> Result<Option<String>, ServiceError> {
        self.api.view.pin(&self.name, digest).await
    }
}

impl FromRequestParts<Arc<Api>> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let asker = Requester::of(parts, api)?;
        let name = named(parts, &asker).await?;
        asker.reader(name)
    }
}

/// The right to read everything.
pub(in crate::http::api) struct RegistryReader(Arc<Api>);

impl RegistryReader {
    pub(super) fn new(api: Arc<Api>) -> Self {
        Self(api)
    }

    /// One repository of it.
    pub(in crate::http::api) fn reader(&self, name: RepoName) -> Reader {
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
        Requester::of(parts, api)?.overseer()
    }
}

/// The right to know what tells nothing of any repository.
pub(in crate::http::api) struct SelfService(Arc<Api>);

impl SelfService {
    pub(in crate::http::api) fn health(&self) -> &dyn Health {
        self.0.view.health()
    }

    pub(in crate::http::api) fn now(&self) -> Timestamp {
        self.0.view.now()
    }

    pub(in crate::http::api) fn started_at(&self) -> Timestamp {
        self.0.view.started_at()
    }

    pub(in crate::http::api) fn is_read_only(&self) -> bool {
        self.0.view.is_read_only()
    }
}

impl FromRequestParts<Arc<Api>> for SelfService {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let asker = Requester::of(parts, api)?;
        asker.greeted()?;
        Ok(Self(Arc::clone(api)))
    }
}

/// What a [`Changer`] may do.
pub(in crate::http::api) trait Does: Send {
    /// The action that was decided on.
    const ACTION: Action;
}

/// Writes.
pub(in crate::http::api) struct Pushes;
/// Takes away.
pub(in crate::http::api) struct Deletes;
/// Does what is its administrators'.
pub(in crate::http::api) struct Administers;

impl Does for Pushes {
    const ACTION: Action = Action::Push;
}

impl Does for Deletes {
    const ACTION: Action = Action::Delete;
}

impl Does for Administers {
    const ACTION: Action = Action::Administer;
}

/// The right to change the repository of the path.
pub(in crate::http::api) struct Changer<D> {
    pub(in crate::http::api) repository: Repository,
    /// Whoever has it.
    pub(in crate::http::api) asker: Requester,
    does: PhantomData<D>,
}

impl<D> Changer<D> {
    /// What may be changed may be read: what came of a change is shown to whoever made it.
    pub(in crate::http::api) fn into_reader(self) -> Reader {
        Reader::new(self.asker.api, self.repository.name().clone())
    }
}

impl<D: Does> FromRequestParts<Arc<Api>> for Changer<D> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let asker = Requester::of(parts, api)?;
        let name = named(parts, &asker).await?;
        let repository = asker.changer(name, D::ACTION)?;
        Ok(Self { repository, asker, does: PhantomData })
    }
}

/// The right to change what is the operator's: policies, and all that is in the trash.
pub(in crate::http::api) struct RegistryAdmin {
    api: Arc<Api>,
    by: String,
}

impl RegistryAdmin {
    pub(super) fn new(api: Arc<Api>, by: String) -> Self {
        Self { api, by }
    }

    /// Who changes something.
    pub(in crate::http::api) fn by(&self) -> &str {
        &self.by
    }

    /// Gives up what is in the trash, of a repository or of all.
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

    /// What policies do.
    pub(in crate::http::api) fn retention(&self) -> &Arc<Retention> {
        &self.api.view.retention
    }
}

impl FromRequestParts<Arc<Api>> for RegistryAdmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        Requester::of(parts, api)?.superior()
    }
}
