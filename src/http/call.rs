//! One request under `/v2`, as its handler gets it.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use super::challenge::Denied;
use super::listen::Peer;
use super::query::Query;
use super::reply::{Reply, value};
use super::request_body::RequestBody;
use super::status::Refusal;
use super::{AppState, warnings};
use crate::auth::{Action, Caller, Denial, Wanted};
use crate::fair::Client;
use crate::oci::{Endpoint, ErrorCode, RepoName};
use crate::registry::{Access, Repository};

/// What a handler yields.
pub(super) type Answered = Result<Reply, Refusal>;

/// A request.
pub(super) struct Call<'a> {
    pub(super) state: &'a AppState,
    pub(super) head: Parts,
    pub(super) body: RequestBody,
    pub(super) peer: Peer,
    /// Who asks: they were let in.
    pub(super) caller: Caller,
}

impl Call<'_> {
    /// The repository that the request names: before there was a call, it was decided that its caller may do there
    /// what the request wants.
    pub(super) fn authorise(&self, name: RepoName) -> Repository {
        let push = self.may(Wanted::Repository(&name, Action::Push));
        self.state.registry.repository(name, Access { push })
    }

    /// Whether its caller may do something besides.
    pub(super) fn may(&self, wanted: Wanted<'_>) -> bool {
        self.state.door.allows(&self.caller, wanted)
    }

    /// Refuses a caller who may not any more since the request's head came.
    pub(super) fn check_still(&self, wanted: Wanted<'_>) -> Result<(), Refusal> {
        let denied = |denial, caller| Denied::new(denial, self.state, &self.head, wanted, caller).into();
        if !self.state.door.is_still(&self.caller) {
            return Err(denied(Denial::Unknown, None));
        }
        self.state.door.decide(&self.caller, wanted).map_err(|denial| denied(denial, Some(&self.caller)))
    }

    /// The same, be it with a token for more.
    pub(super) fn could(&self, wanted: Wanted<'_>) -> bool {
        self.state.door.could(&self.caller, wanted)
    }

    /// The same for a caller who changes what its history tells of.
    pub(super) fn authorise_change(&self, name: RepoName) -> Repository {
        let by = self.caller.name_or(|| self.peer.name());
        self.authorise(name).on_behalf_of(&by)
    }

    /// The repository for a request with a body, which counts towards its client's share.
    pub(super) fn authorise_upload(&self, name: RepoName) -> Repository {
        self.authorise(name).for_client(self.client())
    }

    /// Whose share of a resource the request counts towards: its user's, or its address's without one. The clients of
    /// a proxy that does not name them are not one client.
    pub(super) fn client(&self) -> Client {
        if let Some(user) = self.caller.user() {
            return Client::User(user.into());
        }
        match self.peer.address() {
            _ if self.state.settings.trusted_proxies.are(self.peer) => Client::single_request(),
            Some(address) => Client::from_address(address),
            None => Client::Local,
        }
    }

    /// Whether only the head of the answer is wanted.
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
    pub(super) fn parameter<T>(&self, name: &str) -> Result<Option<T>, Refusal>
    where
        T: std::str::FromStr,
        Refusal: From<T::Err>,
    {
        self.query().get(name).map(|text| text.parse()).transpose().map_err(Refusal::from)
    }

    /// A header's text; `code` is for the refusal of one that is none.
    pub(super) fn header(&self, name: http::HeaderName, code: ErrorCode) -> Result<Option<&str>, Refusal> {
        let text = self.head.headers.get(&name).map(HeaderValue::to_str).transpose();
        text.map_err(|_| Refusal::bad(code, format!("the header {name} is no text")))
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
