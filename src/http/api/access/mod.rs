//! Who may do what through the API, in one place.
//!
//! Handlers reach the registry only through what was decided for whoever asks: an [`Requester`] is let in and may read
//! nothing yet; a [`Reader`] may read one repository; an [`RegistryReader`] may read everything; a [`Changer`] may change
//! one repository; a [`RegistryAdmin`] may change what is the operator's. The last four are extractors that have to be a
//! handler's first argument, so that nobody is told anything about the rest of a request that is refused; where a
//! request names a repository elsewhere than in its path, the [`Requester`] decides.

mod decided;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use http::{Extensions, StatusCode};
use tokio::sync::Semaphore;

use super::Problem;
use crate::auth::{AccessControl, Action, AuthError, By, Permission, Principal};
use crate::http::Health;
use crate::http::listen::Peer;
use crate::jobs::{Collector, Retention, Scrub};
use crate::memory::{Holder, OutOfMemory};
use crate::metadata::{ListPage, ListQuery, MetadataStore, RepositoryEntry, Scope};
use crate::oci::RepoName;
use crate::registry::{Registry, Repository};

pub(super) use decided::{
    Administers, Changer, Deletes, Pushes, Reader, RegistryAdmin, RegistryReader, SelfService,
};
pub(super) use view::View;

/// Who may change something through the API besides those who have the right to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Changes {
    /// Whoever may use the admin socket.
    #[default]
    Socket,
    /// As long as everybody may push and pull, whoever reaches the port. Accounts are not theirs to change.
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

/// What the API answers from.
pub struct Api {
    view: View,
    access_control: Arc<AccessControl>,
}

impl Api {
    /// An API over `registry`, from now on. What may go, and when, is told by the rules of `collector`.
    pub fn new(
        registry: Arc<Registry>,
        collector: Arc<Collector>,
        health: Arc<dyn Health>,
        scrub: Arc<Scrub>,
        retention: Arc<Retention>,
        access_control: Arc<AccessControl>,
        settings: ApiSettings,
    ) -> Self {
        let (started_at, report) = (registry.clock().now(), Semaphore::new(1));
        let view = View { registry, collector, health, scrub, settings, retention, started_at, report };
        Self { view, access_control }
    }

    /// Who a request's memory is reserved for.
    pub(super) fn memory_holder(&self, extensions: &Extensions) -> Holder {
        let is_local = extensions.get::<Peer>().is_some_and(|peer| matches!(peer, Peer::Unix));
        let is_known =
            extensions.get::<Principal>().is_some_and(|principal| *principal != Principal::Anonymous);
        if is_local || is_known || self.access_control.is_open() {
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

/// Whoever asks: they were let in, and have been allowed nothing yet.
pub(super) struct Requester {
    api: Arc<Api>,
    principal: Principal,
    peer: Peer,
}

const CHANGES: &str = "changes through the API are taken on the server's admin socket, which the orlop command \
                       uses, and from users who may make them: log in with a user and password";

const UNKNOWN: &str = "this registry wants to know who you are: log in with a user and password";

const FORBIDDEN: &str = "this is not for you to see or to change";

impl Requester {
    fn of(parts: &Parts, api: &Arc<Api>) -> Result<Self, Problem> {
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

    /// Whether it may read all that a scope means.
    pub(super) fn may_read(&self, scope: &Scope) -> bool {
        self.may(Permission::Scope(scope, Action::Pull))
    }

    /// Whether it may do something.
    fn may(&self, permission: Permission<'_>) -> bool {
        self.api.access_control.allows(&self.principal, permission)
    }

    fn decide(&self, permission: Permission<'_>) -> Result<(), Problem> {
        self.api.access_control.decide(&self.principal, permission).map_err(|denial| refusal(denial, UNKNOWN))
    }

    /// Decides on a change.
    fn decide_change(&self, permission: Permission<'_>) -> Result<(), Problem> {
        self.may_change()?;
        if self.principal == Principal::Anonymous { Ok(()) } else { self.decide(permission) }
    }

    /// Who it is, as histories tell it.
    pub(super) fn name(&self) -> String {
        self.principal.name_or(|| self.peer.name())
    }

    /// A repository to be read.
    pub(super) fn reader(&self, name: RepoName) -> Result<Reader, Problem> {
        self.decide(Permission::Repository(&name, Action::Pull))?;
        Ok(Reader::new(Arc::clone(&self.api), name))
    }

    /// Everything, to be read.
    pub(super) fn overseer(&self) -> Result<RegistryReader, Problem> {
        self.overseer_of(&Scope::All)
    }

    /// Everything, to be read as far as it is about a scope.
    pub(super) fn overseer_of(&self, scope: &Scope) -> Result<RegistryReader, Problem> {
        self.decide(Permission::Scope(scope, Action::Pull))?;
        Ok(RegistryReader::new(Arc::clone(&self.api)))
    }

    /// A repository to be changed.
    pub(super) fn changer(&self, name: RepoName, action: Action) -> Result<Repository, Problem> {
        self.decide_change(Permission::Repository(&name, action))?;
        let access = crate::registry::Access { push: true };
        Ok(self.api.view.registry.repository(name, access).on_behalf_of(&self.name()))
    }

    /// What is the operator's, to be changed.
    pub(super) fn superior(&self) -> Result<RegistryAdmin, Problem> {
        self.decide_change(Permission::Scope(&Scope::All, Action::Administer))?;
        Ok(RegistryAdmin::new(Arc::clone(&self.api), self.name()))
    }

    /// The access_control, to change the accounts that belong to a scope: for those who administer it by a right of their own.
    pub(super) fn administers(&self, scope: &Scope) -> Result<&Arc<AccessControl>, Problem> {
        self.signed_in()?;
        self.decide(Permission::Scope(scope, Action::Administer))?;
        Ok(&self.api.access_control)
    }

    /// The access_control, to change what is a user's own: for that user with the password, and for those who administer
    /// everything. Whoever has a token gets no other by it.
    pub(super) fn is_or_administers(&self, user: &str) -> Result<&Arc<AccessControl>, Problem> {
        match &self.principal {
            Principal::User(known) if *known.name == *user => Ok(&self.api.access_control),
            _ => self.administers(&Scope::All),
        }
    }

    /// The access_control, to see what is somebody's own. Nobody is whom `api.changes` trusts.
    pub(super) fn signed_in(&self) -> Result<&Arc<AccessControl>, Problem> {
        match self.principal {
            Principal::Anonymous => Err(refusal(AuthError::Unauthenticated, UNKNOWN)),
            _ => Ok(&self.api.access_control),
        }
    }

    /// Strangers change nothing here, be it that they may push.
    fn may_change(&self) -> Result<(), Problem> {
        let trusted = self.api.view.settings.changes == Changes::Anyone && self.api.access_control.is_open();
        match self.principal {
            Principal::Anonymous if !trusted => Err(refusal(AuthError::Unauthenticated, CHANGES)),
            _ => Ok(()),
        }
    }

    /// The facts, for what was decided by [`Self::administers`].
    pub(super) fn metadata(&self) -> &Arc<dyn MetadataStore> {
        self.api.view.registry.metadata()
    }

    /// Who changes accounts, and when.
    pub(super) fn by<'a>(&self, name: &'a str) -> By<'a> {
        By { name, now: self.api.view.now() }
    }

    /// Lets pass whom the registry has something for.
    pub(super) fn greeted(&self) -> Result<&View, Problem> {
        self.decide(Permission::Other)?;
        Ok(&self.api.view)
    }

    /// A page of the repositories that it may pull. What it may not is passed over without a trace.
    pub(super) async fn repositories(&self, query: &ListQuery) -> Result<ListPage<RepositoryEntry>, Problem> {
        self.decide(Permission::Catalog)?;
        let visible = self.api.access_control.visible(&self.principal);
        Ok(self.api.view.repositories(query, &visible).await?)
    }
}

impl Api {
    /// Refuses whoever is in no more since a request's head came.
    pub(super) fn check_still(&self, parts: &Parts) -> Result<(), Problem> {
        match parts.extensions.get::<Principal>() {
            Some(principal) if !self.access_control.is_still_valid(principal) => {
                Err(refusal(AuthError::Unauthenticated, UNKNOWN))
            }
            _ => Ok(()),
        }
    }
}

/// What somebody is told who may not.
fn refusal(denial: AuthError, unknown: &str) -> Problem {
    match denial {
        AuthError::Unauthenticated => Problem::new(StatusCode::UNAUTHORIZED, unknown),
        AuthError::Forbidden => Problem::new(StatusCode::FORBIDDEN, FORBIDDEN),
        AuthError::RateLimited(_) => Problem::new(StatusCode::TOO_MANY_REQUESTS, UNKNOWN),
        AuthError::OutOfMemory => OutOfMemory.into(),
    }
}

/// The repository that a path names. A path that names none is wrong whoever asks, and is not told to who may not ask
/// for anything.
async fn named(parts: &mut Parts, asker: &Requester) -> Result<RepoName, Problem> {
    let path = RawPathParams::from_request_parts(parts, &()).await;
    let path = path.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    let name = path.iter().find(|(key, _)| *key == "name").map(|(_, name)| name.to_owned());
    match name.unwrap_or_default().parse() {
        Ok(name) => Ok(name),
        Err(error) => {
            asker.greeted()?;
            Err(Problem::bad(format_args!("name: {error}")))
        }
    }
}

impl FromRequestParts<Arc<Api>> for Requester {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        Self::of(parts, api)
    }
}

/// An [`Requester`] who may change something: what, their requests' bodies tell.
pub(super) struct Author(pub(super) Requester);

impl FromRequestParts<Arc<Api>> for Author {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let asker = Requester::of(parts, api)?;
        asker.may_change()?;
        Ok(Self(asker))
    }
}

/// An [`Requester`] who has said who it is.
pub(super) struct SignedIn(pub(super) Requester);

impl FromRequestParts<Arc<Api>> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let asker = Requester::of(parts, api)?;
        asker.signed_in()?;
        Ok(Self(asker))
    }
}
