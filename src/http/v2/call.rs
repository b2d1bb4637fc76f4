//! The head of an authorised request below `/v2`. It gives handlers no access to the registry.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::error::V2Error;
use crate::auth::{Permission, Principal};
use crate::fair::Client;
use crate::http::listen::Peer;
use crate::http::query::Query;
use crate::http::reply::{Reply, value};
use crate::http::state::{AppState, HttpSettings};
use crate::memory::{Holder, Purpose, Reservation};
use crate::oci::{Endpoint, ErrorCode};
use crate::registry::ServiceError;

/// Shows a message to the user of a client (OCI distribution specification, "Warnings").
const WARNING: HeaderName = HeaderName::from_static("warning");

/// The most bytes of all warnings of a response together.
const MAX_WARNING_BYTES: usize = 4096;

/// A request, with the state that it is answered from.
pub(super) struct Call<'a> {
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
    pub(super) async fn reserve(&self, purpose: Purpose, bytes: usize) -> Result<Reservation, ServiceError> {
        let is_known = self.state.access_control.is_known(&self.principal);
        let holder = if is_known { Holder::Authenticated } else { Holder::Anonymous };
        Ok(self.state.registry.memory().reserve(holder, purpose, bytes).await?)
    }

    pub(super) fn settings(&self) -> &HttpSettings {
        &self.state.settings
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

    /// Parses a query parameter, if the request has it.
    pub(super) fn parameter<T>(&self, name: &str) -> Result<Option<T>, V2Error>
    where
        T: std::str::FromStr,
        V2Error: From<T::Err>,
    {
        self.query().get(name).map(|text| text.parse()).transpose().map_err(V2Error::from)
    }

    /// The text of a header; `code` is the error code if its value is not text.
    pub(super) fn header(&self, name: HeaderName, code: ErrorCode) -> Result<Option<&str>, V2Error> {
        let text = self.head.headers.get(&name).map(HeaderValue::to_str).transpose();
        text.map_err(|_| V2Error::bad(code, format!("the value of the header {name} is not text")))
    }

    /// The address of an endpoint, for a `Location` header.
    pub(super) fn location(&self, endpoint: &Endpoint) -> HeaderValue {
        value(self.settings().locate(endpoint.path()))
    }

    /// Adds the server's current warnings, such as a nearly full disk, to the reply to a push.
    pub(super) fn with_warnings(&self, reply: Reply) -> Reply {
        add_warnings(reply, &self.state.health.warnings())
    }
}

/// Adds warnings to a reply, up to [`MAX_WARNING_BYTES`].
fn add_warnings(mut reply: Reply, warnings: &[String]) -> Reply {
    let mut left = MAX_WARNING_BYTES;
    for text in warnings {
        let Some(value) = warning(text) else { continue };
        let Some(rest) = left.checked_sub(value.len()) else { break };
        left = rest;
        reply = reply.with(WARNING, value);
    }
    reply
}

/// `299 - "<text>"`. `None` if the text has characters that a header must not contain.
fn warning(text: &str) -> Option<HeaderValue> {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::try_from(format!("299 - \"{quoted}\"")).ok()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn warnings(texts: &[&str]) -> Vec<String> {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        let response = add_warnings(Reply::new(StatusCode::OK), &texts).into_response();
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
        response.headers().get_all(WARNING).iter().map(text).collect()
    }

    #[test]
    fn a_warning_is_a_quoted_string() {
        assert_eq!(warnings(&["the disk is \"full\""]), [r#"299 - "the disk is \"full\"""#]);
        assert!(warnings(&["two\r\nlines"]).is_empty());
        assert!(warnings(&[]).is_empty());
    }

    #[test]
    fn all_warnings_together_are_bounded() {
        let long = "x".repeat(2000);
        let warnings = warnings(&[&long, &long, &long]);
        assert_eq!(warnings.len(), 2);
        assert!(warnings.iter().map(String::len).sum::<usize>() <= MAX_WARNING_BYTES);
    }
}
