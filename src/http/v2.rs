//! Answers requests below `/v2`: passes each to its handler, with the right that it was granted.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use super::access::{DeleteRoute, Granted, PullRoute, PushRoute, Right};
use super::challenge::AuthRejection;
use super::freshness::NO_STORE;
use super::payload::Payload;
use super::reply::{API_VERSION, Reply};
use super::request_body::RequestBody;
use super::status::{V2Error, V2Result};
use super::{base, blobs, catalog, manifests, referrers, tags, uploads};
use crate::oci::ErrorCode;

/// Answers a request that was granted its right, or rejects it.
pub(super) async fn answer(
    granted: Result<Granted<'_>, AuthRejection>,
    head: Parts,
    body: RequestBody,
) -> Response<Payload> {
    let granted = match granted {
        Ok(granted) => granted,
        Err(denied) => return refuse(denied.into(), &head.method),
    };
    let head_only = head.method == Method::HEAD;
    let handled =
        AssertUnwindSafe(async move { handle(granted.open(head, body)?).await }).catch_unwind().await;
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

async fn handle(right: Right<'_>) -> V2Result {
    match right {
        Right::Base => Ok(base::get()),
        Right::Catalog(catalog) => catalog::list(&catalog).await,
        Right::Pull(repository, route) => match route {
            PullRoute::Tags => tags::list(&repository).await,
            PullRoute::Referrers(subject) => referrers::list(&repository, subject).await,
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
