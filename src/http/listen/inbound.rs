//! The body of a request, and the handling of the part that no handler reads.
//!
//! A server that closes a connection while data still arrives resets it, and the client may never read the
//! response. So on HTTP/1 such a response has `Connection: close`, and the connection
//! [lingers](super::linger) before it is closed. On HTTP/2 the rest of the body is read and discarded for a
//! while, then the stream is reset without an error.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::connection_state::ConnectionState;
use super::linger::{Lingering, MAX_LINGER};

/// The maximum number of unwanted body bytes that are read to keep an HTTP/1 connection for the next request.
const MAX_KEEP_ALIVE_DRAIN: u64 = 64 * 1024;

/// The time limit for reading them.
const KEEP_ALIVE_DRAIN_TIMEOUT: Duration = Duration::from_millis(50);

/// A request's body.
pub struct Inbound {
    incoming: Option<Incoming>,
    /// The client sends nothing until the first poll asks it to (`Expect: 100-continue`).
    awaits_continue: bool,
    leftover: Option<Arc<Leftover>>,
}

/// Takes the rest of a body when the body is dropped.
pub(super) struct Leftover {
    state: Arc<ConnectionState>,
    lingering: Lingering,
    is_http2: bool,
    unread: Mutex<Option<Unread>>,
}

struct Unread {
    incoming: Incoming,
    awaits_continue: bool,
}

impl Inbound {
    /// Wraps `incoming`. Unless it is empty, also returns the taker of its rest.
    pub(super) fn new(
        incoming: Incoming,
        awaits_continue: bool,
        leftover: impl FnOnce() -> Leftover,
    ) -> (Self, Option<Arc<Leftover>>) {
        let leftover = (!incoming.is_end_stream()).then(|| Arc::new(leftover()));
        (Self { incoming: Some(incoming), awaits_continue, leftover: leftover.clone() }, leftover)
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.awaits_continue = false;
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.incoming = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let incoming = self.incoming.take().filter(|incoming| !incoming.is_end_stream());
        if let (Some(incoming), Some(leftover)) = (incoming, &self.leftover) {
            leftover.put(Unread { incoming, awaits_continue: self.awaits_continue });
        }
    }
}

impl Leftover {
    pub(super) fn new(state: Arc<ConnectionState>, lingering: Lingering, is_http2: bool) -> Self {
        Self { state, lingering, is_http2, unread: Mutex::default() }
    }

    fn put(&self, unread: Unread) {
        if !self.is_http2 {
            self.state.set_unread(true);
            *self.unread.lock() = Some(unread);
            return;
        }
        let Some(permit) = self.lingering.try_start() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            let drained = drain(unread.incoming, u64::MAX);
            tokio::time::timeout(MAX_LINGER, drained).await.ok();
            drop(permit);
        });
    }

    /// Whether an HTTP/1 connection must close after the response, because the body has not been read to its
    /// end.
    pub(super) async fn forces_close(&self) -> bool {
        let unread = self.unread.lock().take();
        let Some(Unread { incoming, awaits_continue }) = unread else { return false };
        let is_long = incoming.size_hint().lower() > MAX_KEEP_ALIVE_DRAIN;
        if awaits_continue || is_long {
            return true;
        }
        let drained = drain(incoming, MAX_KEEP_ALIVE_DRAIN);
        let is_whole = tokio::time::timeout(KEEP_ALIVE_DRAIN_TIMEOUT, drained).await.unwrap_or(false);
        self.state.set_unread(!is_whole);
        !is_whole
    }
}

/// Reads and discards up to `limit` bytes. Returns whether that was the whole body.
async fn drain(mut incoming: Incoming, limit: u64) -> bool {
    let mut left = limit;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
        let len = frame.map(|frame| frame.data_ref().map_or(0, Bytes::len));
        match len.ok().and_then(|len| left.checked_sub(len as u64)) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}
