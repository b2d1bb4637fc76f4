//! One request, from its head to the end of its response, and the memory that it holds meanwhile.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body::{Body, Frame, SizeHint};

use super::ResponseBody;
use super::connection_state::ConnectionState;
use super::open::ConnectionGuard;
use super::sendfile::{Chunk, Parts};
use super::streams::{Stream, Watch};
use crate::memory::{OutOfMemory, Purpose, Reservation};

/// What a request holds besides its head: its task with the future that answers it, and its stream.
pub(super) const REQUEST_MEMORY: usize = 16 * 1024;

/// Up to so many bytes of a head are of ordinary size. They count as long as the request is open; those of a larger one
/// until it is dropped, which handlers that wait for a body do early.
const ORDINARY_HEAD: usize = 4 * 1024;

/// What a header takes besides its name and value.
const HEADER_MEMORY: usize = 112;

/// The most bytes of a response that count as part of its request.
const ORDINARY_RESPONSE: usize = 4 * 1024;

/// The most that is read at once of a response that passes through memory.
const PIECE: usize = 32 * 1024;

/// What such a response holds: a piece that waits for its client, and one that is being sent.
const PIECES_MEMORY: usize = 2 * PIECE;

/// The most that is read at once of a file that the kernel sends by itself, where a disk must be waited for: a part of what
/// the connection holds anyway.
const UNCACHED_PIECE: usize = 16 * 1024;

/// A request that is being answered, for as long as this lives.
pub(super) struct OpenRequest {
    entry: Arc<ConnectionGuard>,
    sending: bool,
    is_refused: bool,
    memory: Mutex<Option<Held>>,
}

/// Memory in the share of a client, of which a connection's requests have more than it came with.
struct Held {
    entry: Arc<ConnectionGuard>,
    reservation: Reservation,
}

/// A large head's memory, released with the head that has this among its extensions.
#[derive(Clone)]
struct HeadMemory {
    _held: Arc<Held>,
}

impl Held {
    fn charge(entry: &Arc<ConnectionGuard>, bytes: usize) -> Self {
        let reservation = entry.memory().charge(entry.pulse.holder(), Purpose::Heads, bytes);
        entry.add_memory(bytes);
        Self { entry: Arc::clone(entry), reservation }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.entry.remove_memory(self.reservation.bytes());
    }
}

/// How many bytes a request's head holds.
fn head_memory<B>(request: &Request<B>) -> usize {
    let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let header =
        |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + HEADER_MEMORY;
    uri + request.headers().iter().map(header).sum::<usize>()
}

impl OpenRequest {
    /// Counts a request whose head has come. A connection's only request is part of what the connection holds, unless its
    /// head is large.
    pub(super) fn begin<B>(entry: &Arc<ConnectionGuard>, request: &mut Request<B>) -> Self {
        let is_only = entry.pulse.requests() == 0;
        entry.pulse.request_begins();
        let head = head_memory(request);
        let ordinary = if is_only { 0 } else { REQUEST_MEMORY + head.min(ORDINARY_HEAD) };
        let large = if head > ORDINARY_HEAD { head } else { 0 };
        let is_refused = !is_only && entry.shared.has_enough(entry);
        let held = |bytes| (bytes > 0 && !is_refused).then(|| Held::charge(entry, bytes));
        if let Some(held) = held(large) {
            // Otherwise what is kept of it, for the log, keeps all of the head.
            if let Ok(uri) = request.uri().to_string().parse() {
                *request.uri_mut() = uri;
            }
            request.extensions_mut().insert(HeadMemory { _held: Arc::new(held) });
        }
        Self { entry: Arc::clone(entry), sending: false, is_refused, memory: Mutex::new(held(ordinary)) }
    }

    pub(super) fn pulse(&self) -> &ConnectionState {
        &self.entry.pulse
    }

    /// Whether it must be refused, for its connection holds enough while memory is short.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    pub(super) fn note_user(&self, user: &str) {
        self.entry.note_user(user);
    }

    pub(super) fn note_authenticated(&self) {
        self.pulse().note_authenticated();
        if let Some(held) = &mut *self.memory.lock().unwrap_or_else(PoisonError::into_inner) {
            held.reservation.authenticate();
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.sending {
            self.pulse().response_ends();
        }
        self.pulse().request_ends();
    }
}

/// What a response holds while it is sent, in the share of its client.
#[derive(Default)]
pub(super) struct ResponseMemory {
    held: Option<(Arc<ConnectionGuard>, Reservation)>,
}

impl ResponseMemory {
    /// Reserves what `body` will hold, `by_kernel` if the kernel can send its files.
    pub(super) async fn reserve<B: ResponseBody>(
        body: &mut B,
        entry: &Arc<ConnectionGuard>,
        by_kernel: bool,
    ) -> Result<Self, OutOfMemory> {
        let (memory, holder) = (entry.memory(), entry.pulse.holder());
        let reservation = match body.in_memory() {
            Some(..=ORDINARY_RESPONSE) => return Ok(Self::default()),
            // It would wait in memory while its client has enough of it.
            Some(_) if entry.shared.is_over_memory_share(entry) => return Err(OutOfMemory),
            Some(bytes) => match memory.try_reserve(holder, Purpose::SendBuffers, bytes) {
                Some(reservation) => reservation,
                // It is in memory already: few such may wait.
                None => {
                    let _waits = entry.shared.may_wait_in_memory(bytes).ok_or(OutOfMemory)?;
                    memory.reserve(holder, Purpose::SendBuffers, bytes).await?
                }
            },
            None if by_kernel => {
                body.limit_pieces(UNCACHED_PIECE);
                return Ok(Self::default());
            }
            None => {
                body.limit_pieces(PIECE);
                entry.wait_for_share().await?;
                memory.reserve(holder, Purpose::SendBuffers, PIECES_MEMORY).await?
            }
        };
        entry.account.add_memory(reservation.bytes());
        Ok(Self { held: Some((Arc::clone(entry), reservation)) })
    }
}

impl Drop for ResponseMemory {
    fn drop(&mut self) {
        if let Some((entry, reservation)) = &self.held {
            entry.account.remove_memory(reservation.bytes());
        }
    }
}

/// A response's body, which keeps its request open.
pub(super) struct MeteredBody<B> {
    body: B,
    parts: Option<Parts>,
    /// What is left of a piece that is given away in smaller ones. What hyper has taken shows how far its client is, and
    /// must be little: once it has all of a body it drops it, and what it then still holds is not counted.
    rest: Bytes,
    watch: Option<(Arc<Stream>, Watch)>,
    _memory: ResponseMemory,
    _open: OpenRequest,
}

impl<B> MeteredBody<B> {
    pub(super) fn new(body: B, mut open: OpenRequest, memory: ResponseMemory) -> Self {
        open.sending = true;
        open.pulse().response_begins();
        Self { body, parts: None, rest: Bytes::new(), watch: None, _memory: memory, _open: open }
    }

    /// The same with files that the kernel sends.
    pub(super) fn by_kernel(self, parts: Option<Parts>) -> Self {
        Self { parts, ..self }
    }

    /// The same on a stream of HTTP/2.
    pub(super) fn on_stream(self, watch: Option<(Arc<Stream>, Watch)>) -> Self {
        Self { watch, ..self }
    }

    fn next_of_rest(&mut self) -> Option<Chunk> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
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
            stream.note_piece();
        }
        if let Some(piece) = this.next_of_rest() {
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
                    if bytes.len() <= PIECE {
                        return Chunk::Bytes(bytes);
                    }
                    this.rest = bytes;
                    this.next_of_rest().unwrap_or(Chunk::Bytes(Bytes::new()))
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
    fn a_head_is_as_large_as_its_headers() {
        let request = Request::get("/v2/").header("accept", "x").header("cookie", "y".repeat(1000));
        let request = request.body(()).expect("valid");
        assert_eq!(head_memory(&request), 4 + 6 + 1 + 6 + 1000 + 2 * HEADER_MEMORY);
    }
}
