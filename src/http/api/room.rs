//! Room in memory for what the API answers, while it is built and until it is sent.

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

use super::page::{MOST_ITEMS, USUAL};
use super::{Api, Problem};
use crate::http::query::Query;
use crate::memory::{Purpose, Reservation};

/// What an entry of a list takes, as a record and as JSON.
const ENTRY_BYTES: usize = 640;

/// Reserves room for what a request reads.
pub(super) async fn reserve(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if request.method() != Method::GET {
        return Ok(next.run(request).await);
    }
    let holder = api.memory_holder(request.extensions());
    let entries = entries(request.uri().query());
    let memory = api.registry().memory();
    let room = memory.reserve(holder, Purpose::Pages, entries * ENTRY_BYTES).await?;
    let response = next.run(request).await;
    // What turned out to be larger is there already.
    let beyond = response.body().size_hint().lower().saturating_sub((entries * ENTRY_BYTES) as u64);
    let beyond = memory.charge(holder, Purpose::Pages, usize::try_from(beyond).unwrap_or(usize::MAX / 4));
    Ok(response.map(|body| Body::new(Held { body, _room: [room, beyond] })))
}

/// How many entries a request asks for.
fn entries(query: Option<&str>) -> usize {
    let limit = Query::new(query).get("limit").and_then(|limit| limit.parse().ok());
    limit.unwrap_or(USUAL).min(MOST_ITEMS) as usize
}

/// A body that holds the room for it until it is sent.
struct Held {
    body: Body,
    _room: [Reservation; 2],
}

impl http_body::Body for Held {
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
    fn room_is_for_as_many_entries_as_are_asked_for() {
        assert_eq!(entries(None), 100);
        assert_eq!(entries(Some("sort=size&limit=7")), 7);
        assert_eq!(entries(Some("limit=99999999")), 1000);
        assert_eq!(entries(Some("limit=x")), 100, "which the handler refuses");
    }
}
