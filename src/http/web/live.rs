//! `/live`: notifies an open page of changes, by server-sent events. The page then requests itself again.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::sse::{KeepAlive, Sse};
use futures_util::StreamExt;
use http::{HeaderName, HeaderValue, StatusCode};

use super::page::PageResult;
use super::visitor::Visitor;
use crate::http::api::Problem;

/// How often an idle stream sends a comment, so that proxies keep it open.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// Proxies such as nginx must not buffer the stream.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Opens the stream of a page.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    visitor.requester().require_any_access()?;
    let principal = visitor.browser().principal();
    let Some(changes) = visitor.web().live.changes(visitor.requester().name(), principal) else {
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many open pages are updated live"));
    };
    let events = changes.map(Ok::<_, Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response.headers_mut().insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}
