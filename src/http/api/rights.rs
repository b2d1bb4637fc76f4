//! Authorises the requests to the API: rights as types.
//!
//! Handlers reach the registry only through a right that was granted to the request. A [`Requester`] is the
//! client of a request, without any right yet. A [`Reader`] may read one repository, and a [`RegistryReader`]
//! everything; a [`ChangeRight`] may change one repository, and a [`RegistryAdmin`] the settings and data that
//! belong to the operator.
//!
//! The last four are extractors and must be a handler's first argument, so that a client without the right
//! learns nothing about other errors in its request. If a request names a repository outside its path, the
//! handler asks the [`Requester`] for the right.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;

use super::problem::Problem;
use super::state::{Api, Changes, View};
use crate::auth::{AccessControl, Action, AuthError, ChangeAuthor, Permission, Principal};
use crate::clock::Timestamp;
use crate::http::Health;
use crate::http::listen::Peer;
use crate::jobs::retention::RetentionError;
use crate::jobs::{Background, BackgroundJob, Retention};
use crate::memory::OutOfMemory;
use crate::metadata::{
    ChangeQuery, EventKind, EventPage, HistoryEntry, ListPage, ListQuery, Metadata, NamespaceEntry, Page,
    RecentChanges, RecentPush, RepositoryEntry, RepositoryStep, Role, Scope, SearchResults, UntaggedPage,
    Usage, Visible,
};
use crate::oci::{Digest, Reference, RepoName, Tag};
use crate::registry::{Access, Emptied, ManifestError, Registry, Repository, ServiceError};
use crate::reports::{
    ContentReport, ListedTag, ManifestDetail, Overview, Reports, TrashListingPage, TrashListingPosition, Why,
};

/// Makes a right an extractor: the expression grants it to a [`Requester`].
macro_rules! extractor {
    ($right:ty $(where $generic:ident: $bound:ident)?, |$parts:pat_param, $requester:ident| $granted:expr) => {
        impl$(<$generic: $bound>)? FromRequestParts<Arc<Api>> for $right {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
                let $requester = Requester::from_parts(parts, api)?;
                let $parts = parts;
                $granted
            }
        }
    };
}

/// The client of a request, known or anonymous. It has not been authorised for anything yet.
pub(in crate::http) struct Requester {
    api: Arc<Api>,
    principal: Principal,
    peer: Peer,
}

const CHANGES_UNAUTHENTICATED: &str = "authentication required to make changes: log in with a user and \
                                       password, or use the orlop command on the server's admin socket";

const UNAUTHENTICATED: &str = "authentication required: log in with a user and password";

const RATE_LIMITED: &str = "too many failed logins; retry later";

const FORBIDDEN: &str = "access denied: your roles do not allow this request";

impl Requester {
    pub(in crate::http) fn from_parts(parts: &Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>().copied();
        let peer = peer.ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, FORBIDDEN))?;
        let principal = match peer {
            Peer::Unix => Principal::LocalAdmin,
            Peer::Tcp(_) | Peer::Proxied(_) => {
                parts.extensions.get::<Principal>().cloned().unwrap_or(Principal::Anonymous)
            }
        };
        Ok(Self { api: Arc::clone(api), principal, peer })
    }

    /// Whether it may read everything in a scope.
    pub(in crate::http) fn may_read(&self, scope: &Scope) -> bool {
        self.is_allowed(Permission::Scope(scope, Action::Pull))
    }

    /// Whether access control grants `permission`.
    fn is_allowed(&self, permission: Permission<'_>) -> bool {
        self.api.access_control.allows(&self.principal, permission)
    }

    fn decide(&self, permission: Permission<'_>) -> Result<(), Problem> {
        let decision = self.api.access_control.decide(&self.principal, permission);
        decision.map_err(|error| auth_problem(error, UNAUTHENTICATED))
    }

    /// Decides on a change. Anonymous clients need only be trusted by `api.changes`.
    fn decide_change(&self, permission: Permission<'_>) -> Result<(), Problem> {
        self.check_change_allowed()?;
        if self.principal == Principal::Anonymous { Ok(()) } else { self.decide(permission) }
    }

    /// Its name in histories.
    pub(in crate::http) fn name(&self) -> String {
        self.principal.name_or(|| self.peer.name())
    }

    /// The right to read a repository.
    pub(in crate::http) fn reader(&self, name: RepoName) -> Result<Reader, Problem> {
        self.decide(Permission::Repository(&name, Action::Pull))?;
        Ok(Reader { api: Arc::clone(&self.api), principal: self.principal.clone(), name })
    }

    /// The right to read everything.
    pub(in crate::http) fn registry_reader(&self) -> Result<RegistryReader, Problem> {
        self.registry_reader_for(&Scope::All)
    }

    /// The right to read everything, limited to reports about a scope.
    pub(in crate::http) fn registry_reader_for(&self, scope: &Scope) -> Result<RegistryReader, Problem> {
        self.decide(Permission::Scope(scope, Action::Pull))?;
        Ok(RegistryReader(Arc::clone(&self.api)))
    }

    /// The right to change a repository by `action`.
    pub(in crate::http) fn repository_to_change(
        &self,
        name: RepoName,
        action: Action,
    ) -> Result<Repository, Problem> {
        self.decide_change(Permission::Repository(&name, action))?;
        let access = Access { push: true };
        Ok(self.api.view.registry.repository(name, access).on_behalf_of(&self.name()))
    }

    /// The right to change the settings and data that belong to the operator.
    pub(in crate::http) fn registry_admin(&self) -> Result<RegistryAdmin, Problem> {
        self.decide_change(Permission::Scope(&Scope::All, Action::Administer))?;
        Ok(RegistryAdmin { api: Arc::clone(&self.api), by: self.name() })
    }

    /// The access control, to change the accounts that belong to a scope. Requires a user who administers the
    /// scope; the trust of `api.changes` is not enough.
    pub(in crate::http) fn access_control_for(&self, scope: &Scope) -> Result<&Arc<AccessControl>, Problem> {
        self.access_control_if_signed_in()?;
        self.decide(Permission::Scope(scope, Action::Administer))?;
        Ok(&self.api.access_control)
    }

    /// The access control, to change what belongs to a user. Requires that user's password, or administration
    /// of everything: an access token must not create another one.
    pub(in crate::http) fn access_control_for_user(
        &self,
        user: &str,
    ) -> Result<&Arc<AccessControl>, Problem> {
        match &self.principal {
            Principal::User(known) if *known.name == *user => Ok(&self.api.access_control),
            _ => self.access_control_for(&Scope::All),
        }
    }

    /// The access control, to read what belongs to a user. Requires an authenticated user; the trust of
    /// `api.changes` is not enough.
    pub(in crate::http) fn access_control_if_signed_in(&self) -> Result<&Arc<AccessControl>, Problem> {
        match self.principal {
            Principal::Anonymous => Err(auth_problem(AuthError::Unauthenticated, UNAUTHENTICATED)),
            _ => Ok(&self.api.access_control),
        }
    }

    /// Whether it is a user who administers all repositories or some.
    pub(in crate::http) fn administers_anything(&self) -> bool {
        let Ok(access_control) = self.access_control_if_signed_in() else { return false };
        let directory = access_control.accounts().current();
        let scopes = directory.records().grants.iter().filter(|grant| grant.role == Role::Admin);
        self.access_control_for(&Scope::All).is_ok()
            || scopes.map(|grant| &grant.scope).any(|scope| self.access_control_for(scope).is_ok())
    }

    /// Rejects anonymous clients, even if they may push, unless `api.changes` trusts them.
    fn check_change_allowed(&self) -> Result<(), Problem> {
        match self.principal {
            Principal::Anonymous if !self.trusts_anonymous() => {
                Err(auth_problem(AuthError::Unauthenticated, CHANGES_UNAUTHENTICATED))
            }
            _ => Ok(()),
        }
    }

    /// Whether anonymous clients may make changes.
    pub(in crate::http) fn trusts_anonymous(&self) -> bool {
        self.api.view.changes == Changes::Anyone && self.api.access_control.is_open()
    }

    /// The metadata store, after [`Self::access_control_for`] has granted access.
    pub(in crate::http) fn metadata(&self) -> &Arc<Metadata> {
        self.api.view.registry.metadata()
    }

    /// The author and time of a change of accounts.
    pub(in crate::http) fn change_author<'a>(&self, name: &'a str) -> ChangeAuthor<'a> {
        ChangeAuthor { name, now: self.api.registry().clock().now() }
    }

    /// Requires that the client may use the registry at all.
    pub(in crate::http) fn require_any_access(&self) -> Result<&View, Problem> {
        self.decide(Permission::Other)?;
        Ok(&self.api.view)
    }

    /// Whether it may read everything.
    pub(in crate::http) fn sees_all(&self) -> bool {
        self.may_read(&Scope::All)
    }

    /// What fills the disk, as far as it may read it.
    pub(in crate::http) async fn overview(&self) -> Result<Arc<Overview>, Problem> {
        Ok(self.api.view.reports.overview(&self.visible()?, self.sees_all()).await?)
    }

    /// The latest pushes to the repositories that it may pull.
    pub(in crate::http) async fn recent_pushes(&self, limit: usize) -> Result<Vec<RecentPush>, Problem> {
        Ok(self.api.view.reports.recent_pushes(&self.visible()?, limit).await?)
    }

    /// A page of the changes in the repositories that it may pull.
    pub(in crate::http) async fn recent_changes(
        &self,
        query: &ChangeQuery,
        limit: usize,
    ) -> Result<RecentChanges, Problem> {
        Ok(self.metadata().recent_changes(query, &self.visible()?, limit).await?)
    }

    /// A page of the events that it may read. A kind can only be selected by a client that may read everything.
    pub(in crate::http) async fn events(
        &self,
        kind: Option<EventKind>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<EventPage, Problem> {
        let visible = self.visible()?;
        if kind.is_some() && self.sees_all() {
            let found = self.metadata().events(kind, before, limit).await?;
            let next = found.items.last().map(|event| event.id).filter(|_| found.more);
            return Ok(EventPage { items: found.items, next });
        }
        Ok(self.api.view.reports.events(&visible, self.sees_all(), before, limit).await?)
    }

    /// A page of the repositories that it may pull. Others are left out without a trace.
    pub(in crate::http) async fn repositories(
        &self,
        query: &ListQuery,
    ) -> Result<ListPage<RepositoryEntry>, Problem> {
        let visible = self.visible()?;
        Ok(self.api.view.reports.repositories(query, &visible).await?)
    }
}

impl Requester {
    /// A page of the names directly below `parent`, as far as they lead to repositories that it may pull.
    pub(in crate::http) async fn namespaces(
        &self,
        parent: Option<&RepoName>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ListPage<NamespaceEntry>, Problem> {
        let visible = self.visible()?;
        Ok(self.api.view.reports.namespaces(parent, after, limit, &visible).await?)
    }

    /// Searches the repositories that it may pull.
    pub(in crate::http) async fn search(&self, text: &str, limit: usize) -> Result<SearchResults, Problem> {
        let visible = self.visible()?;
        Ok(self.api.view.reports.search(text, &visible, limit).await?)
    }

    /// The repositories that it may pull.
    fn visible(&self) -> Result<Visible, Problem> {
        self.decide(Permission::Catalog)?;
        Ok(self.api.access_control.visible_repositories(&self.principal))
    }
}

/// Rejects a client whose credentials have become invalid since the head of its request arrived.
pub(in crate::http) fn check_still_valid(api: &Api, parts: &Parts) -> Result<(), Problem> {
    match parts.extensions.get::<Principal>() {
        Some(principal) if !api.access_control.is_still_valid(principal) => {
            Err(auth_problem(AuthError::Unauthenticated, UNAUTHENTICATED))
        }
        _ => Ok(()),
    }
}

/// The problem for an error of access control; `unauthenticated` is the message for missing credentials.
fn auth_problem(error: AuthError, unauthenticated: &str) -> Problem {
    match error {
        AuthError::Unauthenticated => Problem::new(StatusCode::UNAUTHORIZED, unauthenticated),
        AuthError::Forbidden => Problem::new(StatusCode::FORBIDDEN, FORBIDDEN),
        AuthError::RateLimited(_) => Problem::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMITED),
        AuthError::OutOfMemory => OutOfMemory.into(),
    }
}

/// The repository that the path names. An invalid name is an error for every client, but a client without any
/// access gets the error of access control instead.
async fn repository_in_path(parts: &mut Parts, requester: &Requester) -> Result<RepoName, Problem> {
    let path = RawPathParams::from_request_parts(parts, &()).await;
    let path = path.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    let name = path.iter().find(|(key, _)| *key == "name").map(|(_, name)| name.to_owned());
    match name.unwrap_or_default().parse() {
        Ok(name) => Ok(name),
        Err(error) => {
            requester.require_any_access()?;
            Err(Problem::bad(format_args!("name: {error}")))
        }
    }
}

/// The right to read one repository. A handler that extracts it gets it for the repository in the path.
pub(in crate::http) struct Reader {
    api: Arc<Api>,
    principal: Principal,
    name: RepoName,
}

impl Reader {
    /// The name of the repository.
    pub(in crate::http) fn name(&self) -> &RepoName {
        &self.name
    }

    fn reports(&self) -> &Reports {
        &self.api.view.reports
    }

    pub(in crate::http) async fn repository(&self) -> Result<Option<RepositoryEntry>, ServiceError> {
        self.reports().repository(&self.name).await
    }

    /// What the repository uses.
    pub(in crate::http) async fn usage(&self) -> Result<Usage, ServiceError> {
        self.reports().repository_usage(&self.name).await
    }

    pub(in crate::http) async fn tags(
        &self,
        query: &ListQuery,
    ) -> Result<ListPage<ListedTag>, ManifestError> {
        self.reports().tags(&self.name, query).await
    }

    pub(in crate::http) async fn tag(&self, tag: &Tag) -> Result<ListedTag, ManifestError> {
        self.reports().tag(&self.name, tag).await
    }

    pub(in crate::http) async fn manifest(&self, digest: &Digest) -> Result<ManifestDetail, ManifestError> {
        self.reports().manifest(&self.name, digest).await
    }

    /// What is in a manifest; tags that share its layers are counted in the repositories that the client may pull.
    pub(in crate::http) async fn contents(&self, digest: &Digest) -> Result<ContentReport, ManifestError> {
        let visible = self.api.access_control.visible_repositories(&self.principal);
        self.reports().contents(&self.name, digest, &visible).await
    }

    pub(in crate::http) async fn untagged(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<UntaggedPage, ManifestError> {
        self.reports().untagged(&self.name, after, limit).await
    }

    /// The exact bytes of a manifest. This does not count as a pull.
    pub(in crate::http) async fn manifest_content(
        &self,
        reference: &Reference,
    ) -> Result<Bytes, ManifestError> {
        let found = self.api.view.metadata().manifest(&self.name, reference).await?;
        Ok(found.ok_or(ManifestError::Unknown)?.content)
    }

    /// The history of a tag, or of the repository itself.
    pub(in crate::http) async fn history(
        &self,
        tag: Option<&Tag>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, ServiceError> {
        self.reports().history(&self.name, tag, before, limit).await
    }

    pub(in crate::http) async fn work(&self) -> Result<Option<RepositoryStep>, ServiceError> {
        self.api.view.work(self.name.clone()).await
    }

    pub(in crate::http) async fn trash(
        &self,
        after: Option<TrashListingPosition>,
        limit: usize,
    ) -> Result<TrashListingPage, ServiceError> {
        self.reports().trash(Some(&self.name), after, limit).await
    }

    /// How long removed manifests can be restored.
    pub(in crate::http) fn trash_retention(&self) -> Duration {
        self.reports().trash_retention()
    }

    pub(in crate::http) async fn why(&self, reference: &Reference) -> Result<Option<Why>, RetentionError> {
        self.reports().why_manifest(&self.name, reference).await
    }
}

extractor!(Reader, |parts, requester| {
    let name = repository_in_path(parts, &requester).await?;
    requester.reader(name)
});

/// The right to read everything.
pub(in crate::http) struct RegistryReader(Arc<Api>);

impl Deref for RegistryReader {
    type Target = View;

    fn deref(&self) -> &View {
        &self.0.view
    }
}

extractor!(RegistryReader, |_, requester| requester.registry_reader());

/// The right to read what reveals nothing about any repository, such as the status and the presets.
pub(in crate::http) struct AnyAccess(Arc<Api>);

impl AnyAccess {
    pub(in crate::http) fn health(&self) -> &dyn Health {
        self.0.view.health.as_ref()
    }

    pub(in crate::http) fn now(&self) -> Timestamp {
        self.0.view.registry.clock().now()
    }

    pub(in crate::http) fn started_at(&self) -> Timestamp {
        self.0.view.started_at
    }

    pub(in crate::http) fn is_read_only(&self) -> bool {
        self.0.view.registry.settings().read_only
    }
}

extractor!(AnyAccess, |_, requester| requester
    .require_any_access()
    .map(|_| Self(Arc::clone(&requester.api))));

/// The action that a [`ChangeRight`] may perform.
pub(in crate::http) trait ChangeAction: Send {
    /// The action that access control decides on.
    const ACTION: Action;
}

/// Pushes content and moves tags.
pub(in crate::http) struct Pushes;
/// Deletes content.
pub(in crate::http) struct Deletes;
/// Administers the repository.
pub(in crate::http) struct Administers;

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
pub(in crate::http) struct ChangeRight<D> {
    pub(in crate::http) repository: Repository,
    /// The client that has the right.
    pub(in crate::http) requester: Requester,
    action: PhantomData<D>,
}

impl<D> ChangeRight<D> {
    /// The right to read the repository: a client that may change it may see the result of the change.
    pub(in crate::http) fn into_reader(self) -> Reader {
        let Requester { api, principal, .. } = self.requester;
        Reader { api, principal, name: self.repository.name().clone() }
    }
}

extractor!(ChangeRight<D> where D: ChangeAction, |parts, requester| {
    let name = repository_in_path(parts, &requester).await?;
    let repository = requester.repository_to_change(name, D::ACTION)?;
    Ok(Self { repository, requester, action: PhantomData })
});

/// The right to change what belongs to the operator: policies and the whole trash.
pub(in crate::http) struct RegistryAdmin {
    api: Arc<Api>,
    by: String,
}

impl RegistryAdmin {
    /// The name of the author of a change.
    pub(in crate::http) fn by(&self) -> &str {
        &self.by
    }

    /// Empties the trash of one repository or of all.
    pub(in crate::http) async fn empty_trash(
        &self,
        repository: Option<&RepoName>,
    ) -> Result<Emptied, ServiceError> {
        self.api.view.registry.empty_whole_trash(repository).await
    }

    /// The registry.
    pub(in crate::http) fn registry(&self) -> &Arc<Registry> {
        &self.api.view.registry
    }

    /// The jobs that run in the background.
    fn background(&self) -> &Background {
        &self.api.view.background
    }

    /// Runs a job now.
    pub(in crate::http) fn run_job(&self, job: BackgroundJob) -> Result<(), Problem> {
        if self.background().run_now(job) {
            return Ok(());
        }
        let detail = "the job does not run here: the server is not running, or the store is read-only";
        Err(Problem::new(StatusCode::CONFLICT, detail))
    }

    /// The retention job.
    pub(in crate::http) fn retention(&self) -> &Arc<Retention> {
        &self.api.view.retention
    }
}

extractor!(RegistryAdmin, |_, requester| requester.registry_admin());

extractor!(Requester, |_, requester| Ok(requester));

/// A [`Requester`] that may make changes. The request's body says which, so the handler checks the right to
/// them.
pub(in crate::http) struct Author(pub(super) Requester);

extractor!(Author, |_, requester| {
    requester.check_change_allowed()?;
    Ok(Self(requester))
});

/// A [`Requester`] that has authenticated.
pub(in crate::http) struct SignedIn(pub(super) Requester);

extractor!(SignedIn, |_, requester| {
    requester.access_control_if_signed_in()?;
    Ok(Self(requester))
});
