//! The head of an authorised request below `/v2`. It gives handlers no access to the registry.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use crate::auth::{Permission, Principal};
use crate::fair::Client;
use crate::http::listen::Peer;
use crate::http::query::Query;
use crate::http::reply::{Reply, value};
use crate::http::status::V2Error;
use crate::http::{AppState, HttpSettings, warnings};
use crate::memory::{Holder, Purpose, Reservation};
use crate::oci::{Endpoint, ErrorCode};
use crate::registry::ServiceError;

/// A request, with the state that it is answered from.
pub(in crate::http) struct Call<'a> {
    pub(super) state: &'a AppState,
    pub(super) head: Parts,
    pub(super) peer: Peer,
    /// The authenticated sender.
    pub(super) principal: Principal,
}

impl Call<'_> {
    /// Whether the principal holds a permission.
    pub(super) fn may(&self, permission: Permission<'_>) -> bool {
        self.state.access_control.allows(&self.principal, permission)
    }

    /// Whether the principal holds a permission, or would hold it with another token of the same user.
    pub(super) fn user_may(&self, permission: Permission<'_>) -> bool {
        self.state.access_control.can_with_new_token(&self.principal, permission)
    }

    /// The client whose share of a resource the request uses: its user, or else its address. The clients of a proxy
    /// that does not name them do not count as one client.
    pub(super) fn client(&self) -> Client {
        if let Some(user) = self.principal.name() {
            return Client::User(user.into());
        }
        match self.peer.address() {
            _ if self.settings().trusted_proxies.is_proxy(self.peer) => Client::single_request(),
            Some(address) => Client::from_address(address),
            None => Client::Local,
        }
    }

    /// Reserves memory for the response.
    pub(crate) async fn reserve(&self, purpose: Purpose, bytes: usize) -> Result<Reservation, ServiceError> {
        let is_known = self.state.access_control.is_known(&self.principal);
        let holder = if is_known { Holder::Authenticated } else { Holder::Anonymous };
        Ok(self.state.registry.memory().reserve(holder, purpose, bytes).await?)
    }

    pub(crate) fn settings(&self) -> &HttpSettings {
        &self.state.settings
    }

    /// Whether the response must have no body.
    pub(crate) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query::new(self.head.uri.query())
    }

    /// Parses a query parameter, if the request has it.
    pub(crate) fn parameter<T>(&self, name: &str) -> Result<Option<T>, V2Error>
    where
        T: std::str::FromStr,
        V2Error: From<T::Err>,
    {
        self.query().get(name).map(|text| text.parse()).transpose().map_err(V2Error::from)
    }

    /// The text of a header; `code` is the error code if its value is not text.
    pub(crate) fn header(&self, name: http::HeaderName, code: ErrorCode) -> Result<Option<&str>, V2Error> {
        let text = self.head.headers.get(&name).map(HeaderValue::to_str).transpose();
        text.map_err(|_| V2Error::bad(code, format!("the value of the header {name} is not text")))
    }

    /// The address of an endpoint, for a `Location` header.
    pub(crate) fn location(&self, endpoint: &Endpoint) -> HeaderValue {
        value(self.settings().locate(endpoint.path()))
    }

    /// Adds the server's current warnings, such as a nearly full disk, to the reply to a push.
    pub(crate) fn with_warnings(&self, reply: Reply) -> Reply {
        warnings::add(reply, &self.state.health.warnings())
    }
}
