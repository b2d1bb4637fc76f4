//! A request on its way through the layers.

use http::Method;
use http::request::Parts;

use super::listen::{Peer, RequestContext};
use super::paths::{Target, is_probe};
use super::state::AppState;

/// The head of a request, and what is known about it before its sender is authenticated.
pub(super) struct Exchange<'a> {
    pub(super) state: &'a AppState,
    pub(super) context: RequestContext<'a>,
    pub(super) head: Parts,
    /// The client, also if a trusted proxy passed its request on.
    pub(super) peer: Peer,
    pub(super) target: Target,
}

impl<'a> Exchange<'a> {
    /// Finds out who sends a request, and what it addresses.
    pub(super) fn new(state: &'a AppState, mut head: Parts, context: RequestContext<'a>) -> Self {
        let peer = state.settings.trusted_proxies.resolve_client(context.peer, &mut head);
        let target = Target::of(head.uri.path(), state.settings.ui);
        Self { state, context, head, peer, target }
    }

    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The label of the route, for logs and metrics.
    pub(super) fn route(&self) -> &'static str {
        self.target.route(self.path())
    }

    /// Whether the request can only read.
    pub(super) fn is_read(&self) -> bool {
        matches!(self.head.method, Method::GET | Method::HEAD)
    }

    pub(super) fn is_probe(&self) -> bool {
        is_probe(self.path())
    }
}
