//! One request under `/v2`, as its handler gets it.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use super::challenge::AuthRejection;
use super::listen::Peer;
use super::query::Query;
use super::reply::{Reply, value};
use super::request_body::RequestBody;
use super::status::V2Error;
use super::{AppState, warnings};
use crate::auth::{Action, AuthError, Permission, Principal};
use crate::fair::Client;
use crate::oci::{Endpoint, ErrorCode, RepoName};
use crate::registry::{Access, Repository};

/// What a handler yields.
pub(super) type Answered = Result<Reply, V2Error>;

/// A request.
pub(super) struct Call<'a> {
    pub(super) state: &'a AppState,
    pub(super) head: Parts,
    pub(super) body: RequestBody,
    pub(super) peer: Peer,
    /// Who asks: they were let in.
    pub(super) principal: Principal,
}

impl Call<'_> {
    /// The repository that the request names: before there was a call, it was decided that its principal may do there
    /// what the request wants.
    pub(super) fn authorise(&self, name: RepoName) -> Repository {
        let push = self.may(Permission::Repository(&name, Action::Push));
        self.state.registry.repository(name, Access { push })
    }

    /// Whether its principal may do something besides.
    pub(super) fn may(&self, permission: Permission<'_>) -> bool {
        self.state.access_control.allows(&self.principal, permission)
    }

    /// Refuses a principal who may not any more since the request's head came.
    pub(super) fn check_still(&self, permission: Permission<'_>) -> Result<(), V2Error> {
        let denied = |denial, principal| {
            AuthRejection::new(denial, self.state, &self.head, permission, principal).into()
        };
        if !self.state.access_control.is_still_valid(&self.principal) {
            return Err(denied(AuthError::Unauthenticated, None));
        }
        self.state
            .access_control
            .decide(&self.principal, permission)
            .map_err(|denial| denied(denial, Some(&self.principal)))
    }

    /// The same, be it with a token for more.
    pub(super) fn could(&self, permission: Permission<'_>) -> bool {
        self.state.access_control.could(&self.principal, permission)
    }

    /// The same for a principal who changes what its history tells of.
    pub(super) fn authorise_change(&self, name: RepoName) -> Repository {
        let by = self.principal.name_or(|| self.peer.name());
        self.authorise(name).on_behalf_of(&by)
    }

    /// The repository for a request with a body, which counts towards its client's share.
    pub(super) fn authorise_upload(&self, name: RepoName) -> Repository {
        self.authorise(name).for_client(self.client())
    }

    /// Whose share of a resource the request counts towards: its user's, or its address's without one. The clients of
    /// a proxy that does not name them are not one client.
    pub(super) fn client(&self) -> Client {
        if let Some(user) = self.principal.user() {
            return Client::User(user.into());
        }
        match self.peer.address() {
            _ if self.state.settings.trusted_proxies.are(self.peer) => Client::single_request(),
            Some(address) => Client::from_address(address),
            None => Client::Local,
        }
    }

    /// Whether only the head of the answer is permission.
    pub(super) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::new(self.head.uri.query())
    }

    /// The body, which can be taken once.
    pub(super) fn take_body(&mut self) -> RequestBody {
        self.body.take()
    }

    /// A parameter that is of use only if it is right.
    pub(super) fn parameter<T>(&self, name: &str) -> Result<Option<T>, V2Error>
    where
        T: std::str::FromStr,
        V2Error: From<T::Err>,
    {
        self.query().get(name).map(|text| text.parse()).transpose().map_err(V2Error::from)
    }

    /// A header's text; `code` is for the refusal of one that is none.
    pub(super) fn header(&self, name: http::HeaderName, code: ErrorCode) -> Result<Option<&str>, V2Error> {
        let text = self.head.headers.get(&name).map(HeaderValue::to_str).transpose();
        text.map_err(|_| V2Error::bad(code, format!("the header {name} is no text")))
    }

    /// Where an endpoint is, as a `Location`.
    pub(super) fn location(&self, endpoint: &Endpoint) -> HeaderValue {
        value(self.state.settings.locate(endpoint.path()))
    }

    /// An answer to somebody who pushes, with what the operator's disk makes worth telling.
    pub(super) fn with_warnings(&self, reply: Reply) -> Reply {
        warnings::add(reply, &self.state.health.warnings())
    }
}
