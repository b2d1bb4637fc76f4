//! Tracks one request, from its head to the end of its response, and the memory that it holds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::connection_state::ConnectionState;
use super::open::ConnectionGuard;
use super::sendfile::{Chunk, Parts};
use super::streams::{Stream, Watch};
use crate::memory::{OutOfMemory, Purpose, Reservation};
use crate::store::FilePart;

/// The memory of a request apart from its head: its task with the handler's future, and its stream.
pub(super) const REQUEST_MEMORY: usize = 16 * 1024;

/// The size up to which a head is ordinary, in bytes. An ordinary head counts while the request is open. A
/// larger one counts only until it is dropped: handlers that wait for a body drop it early.
const MAX_ORDINARY_HEAD: usize = 4 * 1024;

/// The memory of a header apart from its name and value.
const HEADER_MEMORY: usize = 112;

/// The size up to which a response counts as part of its request, in bytes.
const MAX_ORDINARY_RESPONSE: usize = 4 * 1024;

/// The maximum number of bytes read at once of a response that passes through memory.
const MAX_PIECE: usize = 32 * 1024;

/// The memory of such a response: one piece waits for its client, and one is being sent.
const PIECES_MEMORY: usize = 2 * MAX_PIECE;

/// The maximum number of bytes read at once from a file that the kernel sends, if they must come from the
/// disk first. A piece of this size fits into the memory that the connection holds anyway.
const MAX_UNCACHED_PIECE: usize = 16 * 1024;

/// The body of a response. Its next bytes may be a part of a file.
pub trait ResponseBody {
    /// Takes the next bytes, if they are a part of a file that can be sent at once.
    fn next_part(&mut self) -> Option<FilePart> {
        None
    }

    /// The number of bytes that are in memory before it is polled; `None` if it reads them when polled.
    fn in_memory(&self) -> Option<usize>;

    /// Limits each later read to this many bytes.
    fn limit_pieces(&mut self, _bytes: usize) {}
}

impl ResponseBody for axum::body::Body {
    fn in_memory(&self) -> Option<usize> {
        // A body of unknown length is produced when polled.
        let exact = self.size_hint().exact();
        exact.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

/// A request that is being handled, until it is dropped.
pub(super) struct OpenRequest {
    pub(super) guard: Arc<ConnectionGuard>,
    sending: bool,
    /// Whether to reject the request: memory is short, and its client or connection already holds enough.
    pub(super) is_refused: bool,
    memory: Mutex<Option<ChargedMemory>>,
}

/// Memory charged to a client's share beyond what its connection holds.
struct ChargedMemory {
    guard: Arc<ConnectionGuard>,
    reservation: Reservation,
}

/// The memory of a large head, stored in its extensions and released with it.
#[derive(Clone)]
struct HeadMemory {
    _held: Arc<ChargedMemory>,
}

impl ChargedMemory {
    fn charge(guard: &Arc<ConnectionGuard>, bytes: usize) -> Self {
        let reservation = guard.memory().charge(guard.state.holder(), Purpose::Heads, bytes);
        guard.add_memory(bytes);
        Self { guard: Arc::clone(guard), reservation }
    }
}

impl Drop for ChargedMemory {
    fn drop(&mut self) {
        self.guard.remove_memory(self.reservation.bytes());
    }
}

/// The memory of a request's head, in bytes.
fn head_memory<B>(request: &Request<B>) -> usize {
    let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let header =
        |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + HEADER_MEMORY;
    uri + request.headers().iter().map(header).sum::<usize>()
}

impl OpenRequest {
    /// Counts a request whose head has arrived. If it is the connection's only one, the memory that the
    /// connection holds already covers it, unless its head is large.
    pub(super) fn start<B>(guard: &Arc<ConnectionGuard>, request: &mut Request<B>) -> Self {
        let is_only = guard.state.requests() == 0;
        guard.state.start_request();
        let head = head_memory(request);
        let ordinary = if is_only { 0 } else { REQUEST_MEMORY + head.min(MAX_ORDINARY_HEAD) };
        let large = if head > MAX_ORDINARY_HEAD { head } else { 0 };
        let is_refused = !is_only && guard.shared.is_saturated(guard);
        let charge = |bytes| (bytes > 0 && !is_refused).then(|| ChargedMemory::charge(guard, bytes));
        if let Some(charge) = charge(large) {
            // A copy, because the log keeps the URI, which would otherwise keep the whole head in memory.
            if let Ok(uri) = request.uri().to_string().parse() {
                *request.uri_mut() = uri;
            }
            request.extensions_mut().insert(HeadMemory { _held: Arc::new(charge) });
        }
        Self { guard: Arc::clone(guard), sending: false, is_refused, memory: Mutex::new(charge(ordinary)) }
    }

    pub(super) fn state(&self) -> &ConnectionState {
        &self.guard.state
    }

    pub(super) fn mark_authenticated(&self) {
        self.state().mark_authenticated();
        if let Some(held) = &mut *self.memory.lock() {
            held.reservation.authenticate();
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.sending {
            self.state().finish_response();
        }
        self.state().finish_request();
    }
}

/// The memory of a response while it is sent, charged to its client's share.
#[derive(Default)]
pub(super) struct ResponseMemory {
    held: Option<(Arc<ConnectionGuard>, Reservation)>,
}

impl ResponseMemory {
    /// Reserves the memory that `body` will hold; `uses_sendfile` if the kernel can send its files.
    pub(super) async fn reserve<B: ResponseBody>(
        body: &mut B,
        guard: &Arc<ConnectionGuard>,
        uses_sendfile: bool,
    ) -> Result<Self, OutOfMemory> {
        let memory = guard.memory();
        let holder = guard.state.holder();
        let reservation = match body.in_memory() {
            Some(..=MAX_ORDINARY_RESPONSE) => return Ok(Self::default()),
            // The response would wait in memory although its client already holds enough.
            Some(_) if guard.shared.is_over_memory_share(guard) => return Err(OutOfMemory),
            Some(bytes) => match memory.try_reserve(holder, Purpose::SendBuffers, bytes) {
                Some(reservation) => reservation,
                // It is in memory already, so only a few such responses may wait.
                None => {
                    let _waits = guard.shared.try_wait_in_memory(bytes).ok_or(OutOfMemory)?;
                    memory.reserve(holder, Purpose::SendBuffers, bytes).await?
                }
            },
            None if uses_sendfile => {
                body.limit_pieces(MAX_UNCACHED_PIECE);
                return Ok(Self::default());
            }
            None => {
                body.limit_pieces(MAX_PIECE);
                guard.wait_for_share().await?;
                memory.reserve(holder, Purpose::SendBuffers, PIECES_MEMORY).await?
            }
        };
        guard.account.add_memory(reservation.bytes());
        Ok(Self { held: Some((Arc::clone(guard), reservation)) })
    }
}

impl Drop for ResponseMemory {
    fn drop(&mut self) {
        if let Some((guard, reservation)) = &self.held {
            guard.account.remove_memory(reservation.bytes());
        }
    }
}

/// A response's body that keeps its request open.
pub(super) struct MeteredBody<B> {
    body: B,
    parts: Option<Parts>,
    /// The rest of a large piece, which is passed to hyper in smaller ones. hyper must hold little. How much
    /// it takes shows how far the client has read. And it drops this body as soon as it has all of it: what
    /// hyper still holds then is no longer counted.
    rest: Bytes,
    watch: Option<(Arc<Stream>, Watch)>,
    _memory: ResponseMemory,
    _open: OpenRequest,
}

impl<B> MeteredBody<B> {
    /// Wraps `body`. `parts` is the queue of file parts that the kernel sends.
    pub(super) fn new(body: B, mut open: OpenRequest, memory: ResponseMemory, parts: Option<Parts>) -> Self {
        open.sending = true;
        open.state().start_response();
        Self { body, parts, rest: Bytes::new(), watch: None, _memory: memory, _open: open }
    }

    /// Adds the HTTP/2 stream that the body is sent on.
    pub(super) fn on_stream(self, watch: Option<(Arc<Stream>, Watch)>) -> Self {
        Self { watch, ..self }
    }

    fn next_piece(&mut self) -> Option<Chunk> {
        let piece = self.rest.split_to(self.rest.len().min(MAX_PIECE));
        (!piece.is_empty()).then_some(Chunk::Bytes(piece))
    }
}

impl<B: ResponseBody + Body<Data = Bytes> + Unpin> Body for MeteredBody<B> {
    type Data = Chunk;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, B::Error>>> {
        let this = &mut *self;
        if let Some((stream, _)) = &this.watch {
            stream.record_piece();
        }
        if let Some(piece) = this.next_piece() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(parts) = &this.parts
            && let Some(part) = this.body.next_part()
        {
            return Poll::Ready(Some(Ok(Frame::data(parts.push(part)))));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|bytes| {
                    if bytes.len() <= MAX_PIECE {
                        return Chunk::Bytes(bytes);
                    }
                    this.rest = bytes;
                    this.next_piece().unwrap_or(Chunk::Bytes(Bytes::new()))
                })
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.body.size_hint().exact() {
            Some(bytes) => SizeHint::with_exact(bytes + self.rest.len() as u64),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_memory_counts_uri_and_headers() {
        let request = Request::get("/v2/").header("accept", "x").header("cookie", "y".repeat(1000));
        let request = request.body(()).expect("valid");
        assert_eq!(head_memory(&request), 4 + 6 + 1 + 6 + 1000 + 2 * HEADER_MEMORY);
    }
}
