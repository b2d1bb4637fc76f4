//! Authorises the requests to the API.
//!
//! Handlers reach the registry only through a right that was granted to the request. A [`Requester`] is the
//! client of a request, without any right yet. A [`Reader`] may read one repository, and a [`RegistryReader`]
//! everything; a [`Changer`] may change one repository, and a [`RegistryAdmin`] the settings and data that
//! belong to the operator.
//!
//! The last four are extractors and must be a handler's first argument, so that a client without the right
//! learns nothing about other errors in its request. If a request names a repository outside its path, the
//! handler asks the [`Requester`] for the right.

mod rights;
mod view;

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use http::{Extensions, StatusCode};
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::auth::{AccessControl, Action, AuthError, ChangeAuthor, Permission, Principal};
use crate::http::Health;
use crate::http::listen::Peer;
use crate::jobs::{Collector, Retention, Scrub};
use crate::memory::{Holder, OutOfMemory};
use crate::metadata::{ListPage, ListQuery, Metadata, RepositoryEntry, Scope};
use crate::oci::RepoName;
use crate::registry::{Registry, Repository};
use crate::reports::Reports;

pub(super) use rights::{
    Administers, AnyAccess, Changer, Deletes, Pushes, Reader, RegistryAdmin, RegistryReader,
};
pub(super) use view::View;

/// Who may change something through the API in addition to users with the right to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Changes {
    /// Clients of the admin socket.
    #[default]
    Socket,
    /// Anyone who can reach the port, as long as everybody may push and pull. Accounts are excluded.
    Anyone,
}

/// The state that the API's handlers share.
pub struct Api {
    view: View,
    access_control: Arc<AccessControl>,
}

impl Api {
    /// Creates an API over `registry` that counts its uptime from now. The rules of `collector` decide what
    /// may be removed, and when; `changes` says who may change something.
    pub fn new(
        registry: Arc<Registry>,
        collector: Arc<Collector>,
        health: Arc<dyn Health>,
        scrub: Arc<Scrub>,
        retention: Arc<Retention>,
        access_control: Arc<AccessControl>,
        changes: Changes,
    ) -> Self {
        let started_at = registry.clock().now();
        let reports = Reports::new(Arc::clone(&registry), collector, Arc::clone(&retention));
        let view = View { registry, reports, health, scrub, retention, changes, started_at };
        Self { view, access_control }
    }

    /// The share of the memory budget that a request uses.
    pub(super) fn memory_holder(&self, extensions: &Extensions) -> Holder {
        let is_local = extensions.get::<Peer>().is_some_and(|peer| matches!(peer, Peer::Unix));
        let principal = extensions.get::<Principal>().unwrap_or(&Principal::Anonymous);
        if is_local || self.access_control.is_known(principal) {
            Holder::Authenticated
        } else {
            Holder::Anonymous
        }
    }

    /// The registry.
    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.view.registry
    }
}

/// The client of a request, known or anonymous. It has not been authorised for anything yet.
pub(super) struct Requester {
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
    fn from_parts(parts: &Parts, api: &Arc<Api>) -> Result<Self, Problem> {
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
    pub(super) fn may_read(&self, scope: &Scope) -> bool {
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
    pub(super) fn name(&self) -> String {
        self.principal.name_or(|| self.peer.name())
    }

    /// The right to read a repository.
    pub(super) fn reader(&self, name: RepoName) -> Result<Reader, Problem> {
        self.decide(Permission::Repository(&name, Action::Pull))?;
        Ok(Reader::new(Arc::clone(&self.api), name))
    }

    /// The right to read everything.
    pub(super) fn registry_reader(&self) -> Result<RegistryReader, Problem> {
        self.registry_reader_for(&Scope::All)
    }

    /// The right to read everything, limited to reports about a scope.
    pub(super) fn registry_reader_for(&self, scope: &Scope) -> Result<RegistryReader, Problem> {
        self.decide(Permission::Scope(scope, Action::Pull))?;
        Ok(RegistryReader::new(Arc::clone(&self.api)))
    }

    /// The right to change a repository by `action`.
    pub(super) fn changer(&self, name: RepoName, action: Action) -> Result<Repository, Problem> {
        self.decide_change(Permission::Repository(&name, action))?;
        let access = crate::registry::Access { push: true };
        Ok(self.api.view.registry.repository(name, access).on_behalf_of(&self.name()))
    }

    /// The right to change the settings and data that belong to the operator.
    pub(super) fn registry_admin(&self) -> Result<RegistryAdmin, Problem> {
        self.decide_change(Permission::Scope(&Scope::All, Action::Administer))?;
        Ok(RegistryAdmin::new(Arc::clone(&self.api), self.name()))
    }

    /// The access control, to change the accounts that belong to a scope. Requires a user who administers the
    /// scope; the trust of `api.changes` is not enough.
    pub(super) fn authorise_administration(&self, scope: &Scope) -> Result<&Arc<AccessControl>, Problem> {
        self.require_sign_in()?;
        self.decide(Permission::Scope(scope, Action::Administer))?;
        Ok(&self.api.access_control)
    }

    /// The access control, to change what belongs to a user. Requires that user's password, or administration
    /// of everything: an access token must not create another one.
    pub(super) fn authorise_self_or_admin(&self, user: &str) -> Result<&Arc<AccessControl>, Problem> {
        match &self.principal {
            Principal::User(known) if *known.name == *user => Ok(&self.api.access_control),
            _ => self.authorise_administration(&Scope::All),
        }
    }

    /// The access control, to read what belongs to a user. Requires an authenticated user; the trust of
    /// `api.changes` is not enough.
    pub(super) fn require_sign_in(&self) -> Result<&Arc<AccessControl>, Problem> {
        match self.principal {
            Principal::Anonymous => Err(auth_problem(AuthError::Unauthenticated, UNAUTHENTICATED)),
            _ => Ok(&self.api.access_control),
        }
    }

    /// Rejects anonymous clients, even if they may push, unless `api.changes` trusts them.
    fn check_change_allowed(&self) -> Result<(), Problem> {
        let trusted = self.api.view.changes == Changes::Anyone && self.api.access_control.is_open();
        match self.principal {
            Principal::Anonymous if !trusted => {
                Err(auth_problem(AuthError::Unauthenticated, CHANGES_UNAUTHENTICATED))
            }
            _ => Ok(()),
        }
    }

    /// The metadata store, after [`Self::authorise_administration`] has granted access.
    pub(super) fn metadata(&self) -> &Arc<Metadata> {
        self.api.view.registry.metadata()
    }

    /// The author and time of a change of accounts.
    pub(super) fn by<'a>(&self, name: &'a str) -> ChangeAuthor<'a> {
        ChangeAuthor { name, now: self.api.registry().clock().now() }
    }

    /// Requires that the client may use the registry at all.
    pub(super) fn require_any_access(&self) -> Result<&View, Problem> {
        self.decide(Permission::Other)?;
        Ok(&self.api.view)
    }

    /// A page of the repositories that it may pull. Others are left out without a trace.
    pub(super) async fn repositories(&self, query: &ListQuery) -> Result<ListPage<RepositoryEntry>, Problem> {
        self.decide(Permission::Catalog)?;
        let visible = self.api.access_control.visible_repositories(&self.principal);
        Ok(self.api.view.reports.repositories(query, &visible).await?)
    }
}

impl Api {
    /// Rejects a client whose credentials have become invalid since the head of its request arrived.
    pub(super) fn check_still_valid(&self, parts: &Parts) -> Result<(), Problem> {
        match parts.extensions.get::<Principal>() {
            Some(principal) if !self.access_control.is_still_valid(principal) => {
                Err(auth_problem(AuthError::Unauthenticated, UNAUTHENTICATED))
            }
            _ => Ok(()),
        }
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

impl FromRequestParts<Arc<Api>> for Requester {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        Self::from_parts(parts, api)
    }
}

/// A [`Requester`] that may make changes. The request's body says which, so the handler checks the right to
/// them.
pub(super) struct Author(pub(super) Requester);

impl FromRequestParts<Arc<Api>> for Author {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let requester = Requester::from_parts(parts, api)?;
        requester.check_change_allowed()?;
        Ok(Self(requester))
    }
}

/// A [`Requester`] that has authenticated.
pub(super) struct SignedIn(pub(super) Requester);

impl FromRequestParts<Arc<Api>> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let requester = Requester::from_parts(parts, api)?;
        requester.require_sign_in()?;
        Ok(Self(requester))
    }
}
