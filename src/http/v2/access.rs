//! Authorises the requests below `/v2`.
//!
//! A request becomes a [`Route`], which names the permission that it requires. [`Granted::decide`] decides, and
//! [`Granted::open`] passes the request on as a [`Right`]. Handlers reach the registry only through the right that is
//! their argument: a [`PullRight`], [`PushRight`], [`DeleteRight`] or [`CatalogRight`]. Nothing else
//! makes one of these.

mod call;
mod rights;
mod route;

use http::request::Parts;

pub(super) use call::Call;
pub(super) use rights::{CatalogRight, DeleteRight, PullRight, PushRight};
pub(super) use route::{DeleteRoute, PullRoute, PushRoute};

use route::{Route, mount_source};

use super::AppState;
use super::challenge::AuthRejection;
use super::listen::Peer;
use super::request_body::RequestBody;
use super::status::V2Error;
use crate::auth::Principal;
use crate::oci::{Endpoint, PathError};

/// A request whose sender holds the permission that its route requires.
pub(super) struct Granted<'a> {
    state: &'a AppState,
    peer: Peer,
    principal: Principal,
    route: Route<'a>,
}

/// The right that a request was granted, and what it does with it.
pub(super) enum Right<'a> {
    Base,
    Catalog(CatalogRight<'a>),
    Pull(PullRight<'a>, PullRoute<'a>),
    Push(PushRight<'a>, PushRoute<'a>),
    Delete(DeleteRight, DeleteRoute<'a>),
}

impl<'a> Granted<'a> {
    /// Authenticates the sender of a request, and decides whether it holds the required permission.
    pub(super) async fn decide(
        state: &'a AppState,
        head: &Parts,
        peer: Peer,
        endpoint: &'a Result<Endpoint, PathError>,
    ) -> Result<Self, AuthRejection> {
        let route = Route::new(endpoint, &head.method);
        let source = mount_source(endpoint, &head.uri);
        let principal = state.authorise(head, peer, route.required_permission(source.as_ref())).await?;
        Ok(Self { state, peer, principal, route })
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The right of the request, or the error of its path or method.
    pub(super) fn open(self, head: Parts, body: RequestBody) -> Result<Right<'a>, V2Error> {
        let Self { state, peer, principal, route } = self;
        let call = Call { state, head, peer, principal };
        Ok(match route {
            Route::Base => Right::Base,
            Route::Catalog => Right::Catalog(CatalogRight::new(call)),
            Route::Pull(name, route) => Right::Pull(PullRight::new(call, name), route),
            Route::Push(name, route) => Right::Push(PushRight::new(call, body, name), route),
            Route::Delete(name, route) => Right::Delete(DeleteRight::new(&call, name), route),
            Route::Unsupported { allow, .. } => return Err(V2Error::method(allow)),
            Route::Invalid(error) => return Err(error.into()),
        })
    }
}
