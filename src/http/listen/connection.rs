//! Serves one connection, from its first byte to its last. Its layers, from the socket up:
//!
//! 1. the TLS handshake, for which memory is reserved;
//! 2. [`MeteredIo`]: deadlines, the [`Brake`] that stops reading while memory is short, and the lingering close;
//! 3. hyper, for HTTP/1 or HTTP/2, under the [`IdleTimeout`];
//! 4. [`OpenRequest`]: the memory of each request, and the [`Leftover`] of a body that no handler reads;
//! 5. the [`Handler`].

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

use super::connection_state::{CloseRequest, ConnectionState, IdleTimeout, Scarcity};
use super::endpoints::{Dialect, Handler, RequestContext};
use super::inbound::{Inbound, Leftover};
use super::metered_io::{Brake, MeteredIo};
use super::open::{ConnectionGuard, Shared};
use super::peer::Peer;
use super::request::{MeteredBody, OpenRequest, ResponseMemory};
use super::sendfile::{Parts, Socket};
use super::streams::Streams;
use super::tls::accept;
use crate::errors::Chain;
use crate::memory::{Holder, Purpose};

/// The memory of a TLS handshake: the session's buffers and keys, and the client's certificates.
const HANDSHAKE_MEMORY: usize = 32 * 1024;

/// The maximum number of bytes gathered for writing on a connection whose content passes through memory.
const MAX_SEND_BUFFER: usize = 32 * 1024;

/// The maximum number of bytes sent on an HTTP/2 stream before its client reads some.
const MAX_STREAM_SEND_BUFFER: usize = 16 * 1024;

/// Serves one connection until it has ended.
pub(super) async fn serve<S, A>(io: S, peer: Peer, handler: A, guard: Arc<ConnectionGuard>)
where
    S: Socket,
    A: Handler,
{
    let shared = &guard.shared;
    let state = &guard.state;
    let Some(tls) = &shared.settings.tls else {
        let io = metered(io, &guard);
        return serve_http(io, None, peer, handler, &guard).await;
    };
    let handshake = async {
        // Unfinished handshakes must not keep other clients from theirs.
        guard.wait_for_share().await.ok()?;
        let _counted = guard.count_memory(HANDSHAKE_MEMORY);
        let memory =
            guard.memory().reserve(Holder::Anonymous, Purpose::Handshakes, HANDSHAKE_MEMORY).await.ok()?;
        let accepted = within_head_timeout(accept(tls, io), shared, state).await;
        drop(memory);
        accepted
    };
    match handshake.await {
        Some(Ok(Some(io))) => {
            let http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
            serve_http(metered(io, &guard), Some(http2), peer, handler, &guard).await;
        }
        Some(Ok(None)) => tracing::debug!(%peer, "answered a TLS-ALPN-01 challenge"),
        Some(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
        None => tracing::debug!(%peer, "TLS handshake timed out, or memory is short"),
    }
}

fn metered<S: Socket>(io: S, guard: &Arc<ConnectionGuard>) -> MeteredIo<S> {
    let lingering = guard.shared.lingering.clone();
    MeteredIo::new(io, Arc::clone(&guard.state), Brake::new(Arc::clone(guard)), lingering)
}

/// The output of `work`, if it finishes within the `head_timeout` and before a request to close.
async fn within_head_timeout<F: Future>(
    work: F,
    shared: &Shared,
    state: &ConnectionState,
) -> Option<F::Output> {
    tokio::select! {
        output = tokio::time::timeout(shared.settings.head_timeout, work) => output.ok(),
        _ = poll_fn(|cx| state.poll_close_request(cx)) => None,
    }
}

/// Serves HTTP in the negotiated version, or in the one that the client starts with.
async fn serve_http<S, A>(
    mut io: MeteredIo<S>,
    http2: Option<bool>,
    peer: Peer,
    handler: A,
    guard: &Arc<ConnectionGuard>,
) where
    S: Socket,
    A: Handler,
{
    let shared = &guard.shared;
    let state = &guard.state;
    let http2 = match http2 {
        Some(http2) => http2,
        None => matches!(within_head_timeout(io.detect_http2(), shared, state).await, Some(Ok(true))),
    };
    let result = if http2 {
        state.set_multiplexed();
        let streams = Streams::default();
        let service =
            Service { handler, peer, guard: Arc::clone(guard), parts: None, streams: Some(streams.clone()) };
        let windows = shared.windows();
        let builder = http2_builder(shared, &streams, windows.stream, windows.connection);
        let connection = builder.serve_connection(TokioIo::new(io), service.into_hyper());
        let result = drive(connection, guard, Some(&streams)).await;
        drop(windows);
        result
    } else {
        // Not for HTTP/2, which frames the content, nor for TLS, which encrypts it: both must read it.
        let parts = S::SENDS_FILES.then(|| io.parts());
        let builder = http1_builder(shared, parts.is_some());
        let service = Service { handler, peer, guard: Arc::clone(guard), parts, streams: None };
        drive(builder.serve_connection(TokioIo::new(io), service.into_hyper()), guard, None).await
    };
    if let Err(error) = result {
        tracing::debug!(%peer, error = %Chain(&error), "connection failed");
    }
}

fn http1_builder(shared: &Shared, uses_sendfile: bool) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    let buffer = if uses_sendfile { shared.settings.buffer_size } else { MAX_SEND_BUFFER };
    // hyper's header timeout would also close connections that only wait for their next request. The
    // `IdleTimeout` checks both times, without a timer for each request.
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
    // No pings: the deadlines on bodies, writes and idle connections detect a client that has disappeared.
    builder
        .max_concurrent_streams(shared.max_streams())
        .max_header_list_size(u32::try_from(shared.settings.max_header_size).unwrap_or(u32::MAX))
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .max_frame_size(max_frame_size)
        .max_send_buf_size(MAX_STREAM_SEND_BUFFER);
    builder
}

/// Handles a connection's requests.
#[derive(Clone)]
struct Service<A> {
    handler: A,
    peer: Peer,
    guard: Arc<ConnectionGuard>,
    /// The queue of file parts that the kernel sends.
    parts: Option<Parts>,
    /// The streams of an HTTP/2 connection.
    streams: Option<Streams>,
}

impl<A: Handler> Service<A> {
    /// hyper calls the service as soon as a head is parsed, and then reads on, so the head's memory is
    /// counted in the call itself.
    fn into_hyper(
        self,
    ) -> impl HttpService<Incoming, ResBody = MeteredBody<A::Body>, Error = Infallible, Future: Send + 'static>
    {
        service_fn(move |mut request: Request<Incoming>| {
            let open = OpenRequest::start(&self.guard, &mut request);
            let stream = self.streams.as_ref().map(Streams::start);
            let this = self.clone();
            async move {
                if stream.is_none() {
                    // hyper may serve many pipelined requests in one poll.
                    poll_fn(|cx| this.guard.state.time_slice.poll_remaining(cx)).await;
                }
                let body = this.respond(request, open).await;
                // From here on, the stream waits for the client to read.
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
        let response = if open.is_refused {
            drop(request);
            self.guard.memory().record_refusal();
            self.handler.overloaded(dialect)
        } else {
            self.handle(request, &open).await
        };
        let (head, mut body) = response.into_parts();
        let (response, memory) =
            match ResponseMemory::reserve(&mut body, &self.guard, self.parts.is_some()).await {
                Ok(memory) => (Response::from_parts(head, body), memory),
                Err(_) => {
                    drop(body);
                    (self.handler.overloaded(dialect), ResponseMemory::default())
                }
            };
        response.map(|body| MeteredBody::new(body, open, memory, self.parts.clone()))
    }

    /// Calls the handler, and closes the connection after the response if necessary.
    async fn handle(&self, request: Request<Incoming>, open: &OpenRequest) -> Response<A::Body> {
        let is_http2 = self.streams.is_some();
        let awaits_continue = request.headers().contains_key(EXPECT);
        let (head, incoming) = request.into_parts();
        let (body, leftover) = Inbound::new(incoming, awaits_continue, || {
            Leftover::new(Arc::clone(&self.guard.state), self.guard.shared.lingering.clone(), is_http2)
        });
        let context = RequestContext { peer: self.peer, open };
        let mut response = self.handler.handle(Request::from_parts(head, body), context).await;
        let is_crowded = self.guard.shared.should_close(&self.guard);
        if is_http2 {
            if is_crowded {
                self.guard.state.request_close(CloseRequest::AfterRequests);
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

/// Runs a connection under its [`IdleTimeout`].
async fn drive<C: GracefulConnection>(
    connection: C,
    guard: &ConnectionGuard,
    streams: Option<&Streams>,
) -> Result<(), C::Error> {
    let shared = &guard.shared;
    let state = &guard.state;
    let mut connection = pin!(connection);
    let mut idle_timeout = IdleTimeout::new(&shared.settings);
    let check_scarcity = |now| {
        let scarcity = Scarcity {
            connections: shared.is_crowded() || shared.is_half_full(),
            memory: shared.settings.memory.is_contended(state.holder()),
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
            match ready!(idle_timeout.poll(cx, state, check_scarcity)) {
                CloseRequest::None => {}
                // The loop polls the connection again, because an idle one closes at once.
                CloseRequest::AfterRequests => connection.as_mut().graceful_shutdown(),
                CloseRequest::Immediately => return Poll::Ready(Ok(())),
            }
        }
    })
    .await
}
