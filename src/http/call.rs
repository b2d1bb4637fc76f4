//! An authorised request below `/v2`, as its handler receives it.

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

/// The result of a handler.
pub(super) type V2Result = Result<Reply, V2Error>;

/// An authorised request, with the state that it is answered from.
pub(super) struct Call<'a> {
    pub(super) state: &'a AppState,
    pub(super) head: Parts,
    pub(super) body: RequestBody,
    pub(super) peer: Peer,
    /// The authenticated sender, who holds the permission that the endpoint requires.
    pub(super) principal: Principal,
}

impl Call<'_> {
    /// The repository that the request names. Checks nothing: the permission was checked before the call was made.
    pub(super) fn repository(&self, name: RepoName) -> Repository {
        let push = self.may(Permission::Repository(&name, Action::Push));
        self.state.registry.repository(name, Access { push })
    }

    /// Whether the principal also holds another permission.
    pub(super) fn may(&self, permission: Permission<'_>) -> bool {
        self.state.access_control.allows(&self.principal, permission)
    }

    /// Checks again that the principal is valid and holds a permission: either may have changed since the request's
    /// head was read.
    pub(super) fn check_still_allowed(&self, permission: Permission<'_>) -> Result<(), V2Error> {
        let denied = |error, principal| {
            AuthRejection::new(error, self.state, &self.head, permission, principal).into()
        };
        if !self.state.access_control.is_still_valid(&self.principal) {
            return Err(denied(AuthError::Unauthenticated, None));
        }
        self.state
            .access_control
            .decide(&self.principal, permission)
            .map_err(|error| denied(error, Some(&self.principal)))
    }

    /// Whether the principal holds a permission, or would hold it with another token of the same user.
    pub(super) fn user_may(&self, permission: Permission<'_>) -> bool {
        self.state.access_control.can_with_new_token(&self.principal, permission)
    }

    /// The repository for a change that its history records under the principal's name.
    pub(super) fn repository_for_change(&self, name: RepoName) -> Repository {
        let by = self.principal.name_or(|| self.peer.name());
        self.repository(name).on_behalf_of(&by)
    }

    /// The repository for a request with a body, which counts towards the fair share of its client.
    pub(super) fn repository_for_upload(&self, name: RepoName) -> Repository {
        self.repository(name).for_client(self.client())
    }

    /// The client whose share of a resource the request uses: its user, or else its address. The clients of a proxy
    /// that does not name them do not count as one client.
    pub(super) fn client(&self) -> Client {
        if let Some(user) = self.principal.user() {
            return Client::User(user.into());
        }
        match self.peer.address() {
            _ if self.state.settings.trusted_proxies.is_proxy(self.peer) => Client::single_request(),
            Some(address) => Client::from_address(address),
            None => Client::Local,
        }
    }

    /// Whether the response must have no body.
    pub(super) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::new(self.head.uri.query())
    }

    /// Takes the body. An empty one remains.
    pub(super) fn take_body(&mut self) -> RequestBody {
        self.body.take()
    }

    /// Parses a query parameter, if the request has it.
    pub(super) fn parameter<T>(&self, name: &str) -> Result<Option<T>, V2Error>
    where
        T: std::str::FromStr,
        V2Error: From<T::Err>,
    {
        self.query().get(name).map(|text| text.parse()).transpose().map_err(V2Error::from)
    }

    /// The text of a header; `code` is the error code if its value is not text.
    pub(super) fn header(&self, name: http::HeaderName, code: ErrorCode) -> Result<Option<&str>, V2Error> {
        let text = self.head.headers.get(&name).map(HeaderValue::to_str).transpose();
        text.map_err(|_| V2Error::bad(code, format!("the value of the header {name} is not text")))
    }

    /// The address of an endpoint, for a `Location` header.
    pub(super) fn location(&self, endpoint: &Endpoint) -> HeaderValue {
        value(self.state.settings.locate(endpoint.path()))
    }

    /// Adds the server's current warnings, such as a nearly full disk, to the reply to a push.
    pub(super) fn with_warnings(&self, reply: Reply) -> Reply {
        warnings::add(reply, &self.state.health.warnings())
    }
}
