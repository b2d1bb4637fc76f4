//! Routes requests below `/v2`: maps each endpoint and method to its handler.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, Response, StatusCode};

use super::call::{Call, V2Result};
use super::freshness::NO_STORE;
use super::payload::Payload;
use super::reply::{API_VERSION, Reply};
use super::status::V2Error;
use super::{base, blobs, catalog, manifests, referrers, tags, uploads};
use crate::oci::{Endpoint, ErrorCode, PathError};

/// Answers a request, or returns the error of its path.
pub(super) async fn answer(call: Call<'_>, endpoint: Result<Endpoint, PathError>) -> Response<Payload> {
    let head_only = call.is_head();
    let handled = AssertUnwindSafe(async move { handle(call, endpoint?).await }).catch_unwind().await;
    finish(handled.unwrap_or_else(|_| Err(panicked())), head_only)
}

/// Rejects a request without evaluating its path, so that unauthorised clients do not even learn whether it is valid.
pub(super) fn refuse(error: V2Error, method: &Method) -> Response<Payload> {
    finish(Err(error), method == Method::HEAD)
}

/// Adds the headers that every response has.
fn finish(result: V2Result, head_only: bool) -> Response<Payload> {
    let mut reply = result.unwrap_or_else(Reply::from);
    reply.set(API_VERSION, HeaderValue::from_static("registry/2.0"));
    // Lists and errors depend on the principal.
    reply.set_default(CACHE_CONTROL, NO_STORE);
    if head_only { reply.without_body() } else { reply }.into_response()
}

async fn handle(call: Call<'_>, endpoint: Endpoint) -> V2Result {
    let method = call.head.method.clone();
    let allow = methods(&endpoint);
    match (endpoint, &method) {
        (Endpoint::Base, &Method::GET | &Method::HEAD) => Ok(base::get()),
        (Endpoint::Catalog, &Method::GET | &Method::HEAD) => catalog::list(&call).await,
        (Endpoint::Tags { name }, &Method::GET | &Method::HEAD) => tags::list(&call, name).await,
        (Endpoint::Referrers { name, digest }, &Method::GET | &Method::HEAD) => {
            referrers::list(&call, name, &digest).await
        }
        (Endpoint::Manifest { name, reference }, &Method::GET | &Method::HEAD) => {
            manifests::get(&call, name, &reference).await
        }
        (Endpoint::Manifest { name, reference }, &Method::PUT) => manifests::put(call, name, reference).await,
        (Endpoint::Manifest { name, reference }, &Method::DELETE) => {
            manifests::delete(&call, name, &reference).await
        }
        (Endpoint::Blob { name, digest }, &Method::GET | &Method::HEAD) => {
            blobs::get(&call, name, &digest).await
        }
        (Endpoint::Blob { name, digest }, &Method::DELETE) => blobs::delete(&call, name, &digest).await,
        (Endpoint::Uploads { name }, &Method::POST) => uploads::start(call, name).await,
        (Endpoint::Upload { name, id }, &Method::GET | &Method::HEAD) => {
            uploads::status(&call, name, id).await
        }
        (Endpoint::Upload { name, id }, &Method::PATCH) => uploads::append(call, name, id).await,
        (Endpoint::Upload { name, id }, &Method::PUT) => uploads::finish(call, name, id).await,
        (Endpoint::Upload { name, id }, &Method::DELETE) => uploads::cancel(&call, name, id).await,
        _ => Err(V2Error::method(allow)),
    }
}

/// The methods of an endpoint, for the `Allow` header.
fn methods(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Base | Endpoint::Catalog | Endpoint::Tags { .. } | Endpoint::Referrers { .. } => {
            "GET, HEAD"
        }
        Endpoint::Manifest { .. } => "GET, HEAD, PUT, DELETE",
        Endpoint::Blob { .. } => "GET, HEAD, DELETE",
        Endpoint::Uploads { .. } => "POST",
        Endpoint::Upload { .. } => "GET, HEAD, PATCH, PUT, DELETE",
    }
}

/// The response after a panic in a handler. The panic hook has logged the panic's own message.
fn panicked() -> V2Error {
    let message = "internal error; see the log of the registry";
    V2Error::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown, message)
}
