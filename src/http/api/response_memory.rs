//! Reserves memory for the API's responses, from before they are built until they are sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use http_body::{Body as _, Frame, SizeHint};

use super::page::{DEFAULT_PAGE_ITEMS, MAX_PAGE_ITEMS};
use super::{Api, Problem};
use crate::http::query::Query;
use crate::memory::{Purpose, Reservation};

/// The memory that an entry of a list takes as a record and as JSON, in bytes.
const ENTRY_BYTES: usize = 640;

/// Reserves memory for what a request reads, and holds it until the response is sent.
pub(in crate::http) async fn reserve_memory(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if request.method() != Method::GET {
        return Ok(next.run(request).await);
    }
    let holder = api.memory_holder(request.extensions());
    let entries = requested_entries(request.uri().query());
    let memory = api.registry().memory();
    let reserved = memory.reserve(holder, Purpose::Pages, entries * ENTRY_BYTES).await?;
    let response = next.run(request).await;
    // What exceeds the reservation is in memory already, so waiting for memory would not help.
    let excess = response.body().size_hint().lower().saturating_sub((entries * ENTRY_BYTES) as u64);
    let excess = memory.charge(holder, Purpose::Pages, usize::try_from(excess).unwrap_or(usize::MAX / 4));
    Ok(response.map(|body| Body::new(ReservedBody { body, _memory: [reserved, excess] })))
}

/// The number of entries that a request asks for.
fn requested_entries(query: Option<&str>) -> usize {
    let limit = Query::new(query).get("limit").and_then(|limit| limit.parse().ok());
    limit.unwrap_or(DEFAULT_PAGE_ITEMS).min(MAX_PAGE_ITEMS) as usize
}

/// A body that holds its memory reservation until it is sent.
struct ReservedBody {
    body: Body,
    _memory: [Reservation; 2],
}

impl http_body::Body for ReservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requested_entries_follow_the_limit_parameter() {
        assert_eq!(requested_entries(None), 100);
        assert_eq!(requested_entries(Some("sort=size&limit=7")), 7);
        assert_eq!(requested_entries(Some("limit=99999999")), 1000);
        assert_eq!(requested_entries(Some("limit=x")), 100, "the handler rejects it");
    }
}
