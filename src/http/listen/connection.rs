//! One connection, from its first byte to its last. Its layers, from the socket up:
//!
//! 1. the TLS handshake, for which memory is reserved;
//! 2. [`MeteredIo`]: deadlines, the [`Brake`] that stops reading while memory is short, and the lingering close;
//! 3. hyper, for HTTP/1 or HTTP/2, under the [`IdleTimeout`];
//! 4. [`OpenRequest`]: what each request holds in memory, and the [`Leftover`] of a body that no handler reads;
//! 5. the handler, an [`Handler`].

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;

use super::brake::Brake;
use super::connection_state::{ConnectionState, IdleTimeout, Order, Scarcity};
use super::endpoints::{Dialect, RequestContext};
use super::handshake::accept;
use super::inbound::{Inbound, Leftover};
use super::metered_io::MeteredIo;
use super::open::{ConnectionGuard, Shared};
use super::request::{MeteredBody, OpenRequest, ResponseMemory};
use super::sendfile::{Parts, Socket};
use super::streams::Streams;
use super::{Handler, Peer};
use crate::memory::{Holder, Purpose};

/// What a TLS handshake holds: the session's buffers and keys, and the client's certificates.
const HANDSHAKE_MEMORY: usize = 32 * 1024;

/// The most bytes that are gathered for writing on a connection whose bytes pass through memory.
const MAX_SEND_BUFFER: usize = 32 * 1024;

/// The most that is sent on a stream of HTTP/2 before its client takes some.
const MAX_STREAM_SEND_BUFFER: usize = 16 * 1024;

/// Serves one connection until it has ended.
pub(super) async fn serve<S, A>(io: S, peer: Peer, answer: A, entry: Arc<ConnectionGuard>)
where
    S: Socket,
    A: Handler,
{
    let (shared, pulse) = (&entry.shared, &entry.pulse);
    let Some(tls) = &shared.settings.tls else {
        let io = watched(io, &entry);
        return speak(io, None, peer, answer, &entry).await;
    };
    let handshake = async {
        // Handshakes that are begun and left must not keep other clients from theirs.
        entry.wait_for_share().await.ok()?;
        let _counted = entry.count_memory(HANDSHAKE_MEMORY);
        let memory =
            entry.memory().reserve(Holder::Anonymous, Purpose::Handshakes, HANDSHAKE_MEMORY).await.ok()?;
        let accepted = in_time(accept(tls, io), shared, pulse).await;
        drop(memory);
        accepted
    };
    match handshake.await {
        Some(Ok(Some(io))) => {
            let http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
            speak(watched(io, &entry), Some(http2), peer, answer, &entry).await;
        }
        Some(Ok(None)) => tracing::debug!(%peer, "an authority was shown that a name is this server's"),
        Some(Err(error)) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
        None => tracing::debug!(%peer, "the TLS handshake took too long, or memory is short"),
    }
}

fn watched<S: Socket>(io: S, entry: &Arc<ConnectionGuard>) -> MeteredIo<S> {
    let lingering = entry.shared.lingering.clone();
    MeteredIo::new(io, Arc::clone(&entry.pulse), Brake::new(Arc::clone(entry)), lingering)
}

/// What `work` yields, if it does so within the time that a client has to begin.
async fn in_time<F: Future>(work: F, shared: &Shared, pulse: &ConnectionState) -> Option<F::Output> {
    tokio::select! {
        output = tokio::time::timeout(shared.settings.head_timeout, work) => output.ok(),
        _ = poll_fn(|cx| pulse.poll_ordered(cx)) => None,
    }
}

/// Speaks HTTP: the version that was agreed on, or else the one that the client begins with.
async fn speak<S, A>(
    mut io: MeteredIo<S>,
    http2: Option<bool>,
    peer: Peer,
    answer: A,
    entry: &Arc<ConnectionGuard>,
) where
    S: Socket,
    A: Handler,
{
    let (shared, pulse) = (&entry.shared, &entry.pulse);
    let http2 = match http2 {
        Some(http2) => http2,
        None => matches!(in_time(io.begins_http2(), shared, pulse).await, Some(Ok(true))),
    };
    let result = if http2 {
        pulse.set_multiplexed();
        let streams = Streams::default();
        let service =
            Service { answer, peer, entry: Arc::clone(entry), parts: None, streams: Some(streams.clone()) };
        let windows = shared.windows();
        let builder = http2_builder(shared, &streams, windows.stream, windows.connection);
        let connection = builder.serve_connection(TokioIo::new(io), service.into_hyper());
        let result = drive(connection, entry, Some(&streams)).await;
        drop(windows);
        result
    } else {
        // HTTP/2 frames what it sends, and TLS seals it: both must read it for that.
        let parts = S::SENDS_FILES.then(|| io.parts());
        let builder = http1_builder(shared, parts.is_some());
        let service = Service { answer, peer, entry: Arc::clone(entry), parts, streams: None };
        drive(builder.serve_connection(TokioIo::new(io), service.into_hyper()), entry, None).await
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "the connection broke");
    }
}

fn http1_builder(shared: &Shared, by_kernel: bool) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    let buffer = if by_kernel { shared.settings.buffer_size } else { MAX_SEND_BUFFER };
    // hyper's own header timeout also ends connections that only wait for their next request: here the
    // watchdog keeps both times, and no request pays for a timer.
    builder
        .header_read_timeout(None)
        .max_header_size(shared.settings.max_header_size)
        .max_buf_size(buffer.max(shared.settings.max_header_size).max(8192));
    builder
}

fn http2_builder(
    shared: &Shared,
    streams: &Streams,
    stream_window: u32,
    connection_window: u32,
) -> hyper::server::conn::http2::Builder<Streams> {
    let mut builder = hyper::server::conn::http2::Builder::new(streams.clone());
    let max_frame_size = stream_window.clamp(16 * 1024, 64 * 1024);
    // No pings: a peer that is gone is noticed by the deadlines on bodies, writes and idleness.
    builder
        .max_concurrent_streams(shared.max_streams())
        .max_header_list_size(u32::try_from(shared.settings.max_header_size).unwrap_or(u32::MAX))
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .max_frame_size(max_frame_size)
        .max_send_buf_size(MAX_STREAM_SEND_BUFFER);
    builder
}

/// Answers a connection's requests.
#[derive(Clone)]
struct Service<A> {
    answer: A,
    peer: Peer,
    entry: Arc<ConnectionGuard>,
    /// Where files go that the kernel sends.
    parts: Option<Parts>,
    /// The streams of HTTP/2.
    streams: Option<Streams>,
}

impl<A: Handler> Service<A> {
    /// hyper calls it as soon as a head is parsed, and then reads on: what the head holds is counted in that call.
    fn into_hyper(
        self,
    ) -> impl HttpService<Incoming, ResBody = MeteredBody<A::Body>, Error = Infallible, Future: Send + 'static>
    {
        service_fn(move |mut request: Request<Incoming>| {
            let open = OpenRequest::begin(&self.entry, &mut request);
            let stream = self.streams.as_ref().map(Streams::begin);
            let this = self.clone();
            async move {
                if stream.is_none() {
                    // hyper takes many requests in one poll that were sent at once.
                    poll_fn(|cx| this.entry.pulse.turn().poll_lasts(cx)).await;
                }
                let body = this.respond(request, open).await;
                // From now on it is the client's turn.
                let watch = stream.zip(this.streams.as_ref()).map(|(stream, streams)| {
                    let watch = streams.watch(&stream);
                    (stream, watch)
                });
                Ok(body.map(|body| body.on_stream(watch)))
            }
        })
    }

    async fn respond(&self, request: Request<Incoming>, open: OpenRequest) -> Response<MeteredBody<A::Body>> {
        let dialect = Dialect::of(request.uri().path());
        let response = if open.is_refused() {
            drop(request);
            self.entry.memory().note_refusal();
            self.answer.overloaded(dialect)
        } else {
            self.handle(request, &open).await
        };
        let (head, mut body) = response.into_parts();
        match ResponseMemory::reserve(&mut body, &self.entry, self.parts.is_some()).await {
            Ok(memory) => Response::from_parts(head, MeteredBody::new(body, open, memory)),
            Err(_) => {
                drop(body);
                self.answer
                    .overloaded(dialect)
                    .map(|body| MeteredBody::new(body, open, ResponseMemory::default()))
            }
        }
        .map(|body| body.by_kernel(self.parts.clone()))
    }

    /// Has the request answered, and ends the connection after it where it must.
    async fn handle(&self, request: Request<Incoming>, open: &OpenRequest) -> Response<A::Body> {
        let is_http2 = self.streams.is_some();
        let awaits_continue = request.headers().contains_key(EXPECT);
        let (head, incoming) = request.into_parts();
        let (body, leftover) = Inbound::new(incoming, awaits_continue, || {
            Leftover::new(Arc::clone(&self.entry.pulse), self.entry.shared.lingering.clone(), is_http2)
        });
        let context = RequestContext { peer: self.peer, open };
        let mut response = self.answer.answer(Request::from_parts(head, body), context).await;
        let is_crowded = self.entry.shared.should_close(&self.entry);
        if is_http2 {
            if is_crowded {
                self.entry.pulse.command(Order::Finish);
            }
            return response;
        }
        let is_unread = match leftover {
            Some(leftover) => leftover.forces_close().await,
            None => false,
        };
        if is_unread || is_crowded {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Runs a connection under its watchdog.
async fn drive<C: GracefulConnection>(
    connection: C,
    entry: &ConnectionGuard,
    streams: Option<&Streams>,
) -> Result<(), C::Error> {
    let (shared, pulse) = (&entry.shared, &entry.pulse);
    let mut connection = pin!(connection);
    let mut watchdog = IdleTimeout::new(&shared.settings);
    let look = |now| {
        let scarcity = Scarcity {
            connections: shared.is_crowded() || shared.is_half_full(),
            memory: shared.settings.memory.is_contended(pulse.holder()),
        };
        if let Some(streams) = streams {
            streams.reset_stalled(now, shared.settings.write_timeout, scarcity.memory);
        }
        scarcity
    };
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            match ready!(watchdog.poll(cx, pulse, look)) {
                Order::Serve => {}
                // Polled once more: one that was idle has ended by this.
                Order::Finish => connection.as_mut().graceful_shutdown(),
                Order::Abort => return Poll::Ready(Ok(())),
            }
        }
    })
    .await
}
