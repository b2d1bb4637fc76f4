//! Answers requests below `/v2`: passes each to its handler, with the right that it was granted.
//!
//! A request becomes a [`Route`], which names the permission that it requires. When authentication has found that its
//! sender holds the permission, the request is passed on as a [`Right`]. Handlers reach the registry only through the
//! right that is their argument: a [`PullRight`], [`PushRight`], [`DeleteRight`] or [`CatalogRight`].
//! Nothing else makes one of these. `error.rs` converts errors to responses.

mod blobs;
mod caching;
mod error;
mod lists;
mod manifests;
mod multipart;
mod rights;
mod uploads;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

pub(super) use error::V2Error;
use error::V2Result;
use rights::{Call, CatalogRight, DeleteRight, DeleteRoute, PullRight, PullRoute, PushRight, PushRoute};
pub(super) use rights::{Route, mount_source};

use super::listen::Peer;
use super::payload::Payload;
use super::rejection::Rejection;
use super::reply::{API_VERSION, NO_STORE, Reply};
use super::request_body::RequestBody;
use super::state::AppState;
use crate::auth::Principal;
use crate::oci::{Endpoint, ErrorCode, PathError};

/// The right that a request was granted, and what it does with it.
enum Right<'a> {
    Base,
    Catalog(CatalogRight<'a>),
    Pull(PullRight<'a>, PullRoute<'a>),
    Push(PushRight<'a>, PushRoute<'a>),
    Delete(DeleteRight, DeleteRoute<'a>),
}

/// Answers a request whose sender, `principal`, holds the permission that its [`Route`] requires.
pub(super) async fn answer(
    state: &AppState,
    head: Parts,
    peer: Peer,
    endpoint: &Result<Endpoint, PathError>,
    principal: Principal,
    body: RequestBody,
) -> Response<Payload> {
    let head_only = head.method == Method::HEAD;
    let route = Route::new(endpoint, &head.method);
    let call = Call { state, head, peer, principal };
    let handled = async move { handle(grant(route, call, body)?).await };
    let handled = AssertUnwindSafe(handled).catch_unwind().await;
    finish(handled.unwrap_or_else(|_| Err(panicked())), head_only)
}

/// The response to a request that a layer rejected.
pub(super) fn refuse(rejection: Rejection, method: &Method) -> Response<Payload> {
    finish(Err(rejection.into()), method == Method::HEAD)
}

/// The right of a request, or the error of its path or method.
fn grant<'a>(route: Route<'a>, call: Call<'a>, body: RequestBody) -> Result<Right<'a>, V2Error> {
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

/// Adds the headers of every response below `/v2`.
fn finish(result: V2Result, head_only: bool) -> Response<Payload> {
    let mut reply = result.unwrap_or_else(Reply::from);
    reply.set(API_VERSION, HeaderValue::from_static("registry/2.0"));
    // Lists and errors depend on the principal.
    reply.set_default(CACHE_CONTROL, NO_STORE);
    if head_only { reply.without_body() } else { reply }.into_response()
}

async fn handle(right: Right<'_>) -> V2Result {
    match right {
        // By this endpoint clients check that this is a registry and that they may use it.
        Right::Base => Ok(Reply::json(StatusCode::OK, &serde_json::Map::new())),
        Right::Catalog(catalog) => lists::repositories(&catalog).await,
        Right::Pull(repository, route) => match route {
            PullRoute::Tags => lists::tags(&repository).await,
            PullRoute::Referrers(subject) => lists::referrers(&repository, subject).await,
            PullRoute::Manifest(reference) => manifests::get(&repository, reference).await,
            PullRoute::Blob(digest) => blobs::get(&repository, digest).await,
        },
        Right::Push(repository, route) => match route {
            PushRoute::Manifest(reference) => manifests::put(repository, reference).await,
            PushRoute::StartUpload => uploads::start(repository).await,
            PushRoute::UploadStatus(id) => uploads::status(&repository, id).await,
            PushRoute::AppendUpload(id) => uploads::append(repository, id).await,
            PushRoute::FinishUpload(id) => uploads::finish(repository, id).await,
            PushRoute::CancelUpload(id) => uploads::cancel(&repository, id).await,
        },
        Right::Delete(repository, route) => match route {
            DeleteRoute::Manifest(reference) => manifests::delete(&repository, reference).await,
            DeleteRoute::Blob(digest) => blobs::delete(&repository, digest).await,
        },
    }
}

/// The response after a panic in a handler. The panic hook has logged the panic's own message.
fn panicked() -> V2Error {
    let message = "internal error; see the log of the registry";
    V2Error::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown, message)
}
