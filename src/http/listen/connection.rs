//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::GracefulConnection;

use super::handshake::accept;
use super::open::Shared;
use super::pulse::{Order, Pulse, Watchdog};
use super::sendfile::{Chunk, Parts, Socket};
use super::watched::Watched;
use super::{Answer, Outgoing, Peer};

/// Serves one connection until it has ended.
pub(super) async fn serve<S, A>(io: S, peer: Peer, answer: A, shared: &Shared, pulse: Arc<Pulse>)
where
    S: Socket,
    A: Answer,
{
    let Some(tls) = &shared.settings.tls else {
        return speak(Watched::new(io, Arc::clone(&pulse)), None, peer, answer, shared, pulse).await;
    };
    match in_time(accept(tls, io), shared, &pulse).await {
        Some(Ok(Some(io))) => {
            let http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
            speak(Watched::new(io, Arc::clone(&pulse)), Some(http2), peer, answer, shared, pulse).await;
        }
        Some(Ok(None)) => tracing::debug!(%peer, "an authority was shown that a name is this server's"),
        Some(Err(error)) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
        None => tracing::debug!(%peer, "the TLS handshake took too long"),
    }
}

/// What `work` yields, if it does so within the time that a client has to begin.
async fn in_time<F: Future>(work: F, shared: &Shared, pulse: &Pulse) -> Option<F::Output> {
    tokio::select! {
        output = tokio::time::timeout(shared.settings.head_timeout, work) => output.ok(),
        _ = poll_fn(|cx| pulse.poll_ordered(cx)) => None,
    }
}

/// Speaks HTTP: the version that was agreed on, or else the one that the client begins with.
async fn speak<S, A>(
    mut io: Watched<S>,
    http2: Option<bool>,
    peer: Peer,
    answer: A,
    shared: &Shared,
    pulse: Arc<Pulse>,
) where
    S: Socket,
    A: Answer,
{
    let http2 = match http2 {
        Some(http2) => http2,
        None => matches!(in_time(io.begins_http2(), shared, &pulse).await, Some(Ok(true))),
    };
    // HTTP/2 frames what it sends, and TLS seals it: both must read it for that.
    let parts = (S::SENDS_FILES && !http2).then(|| io.parts());
    let service = service(answer, peer, Arc::clone(&pulse), parts);
    let result = if http2 {
        pulse.set_multiplexed();
        drive(http2_builder(shared).serve_connection(TokioIo::new(io), service), shared, &pulse).await
    } else {
        drive(http1_builder(shared).serve_connection(TokioIo::new(io), service), shared, &pulse).await
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "the connection broke");
    }
}

fn http1_builder(shared: &Shared) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    // hyper's own header timeout also ends connections that only wait for their next request: here the
    // watchdog keeps both times, and no request pays for a timer.
    builder
        .header_read_timeout(None)
        .max_header_size(shared.settings.max_header_size)
        .max_buf_size(shared.settings.buffer_size.max(shared.settings.max_header_size).max(8192));
    builder
}

fn http2_builder(shared: &Shared) -> hyper::server::conn::http2::Builder<TokioExecutor> {
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let window = shared.stream_window();
    // No pings: a peer that is gone is noticed by the deadlines on bodies, writes and idleness.
    builder
        .max_concurrent_streams(shared.settings.max_streams)
        .max_header_list_size(u32::try_from(shared.settings.max_header_size).unwrap_or(u32::MAX))
        .initial_stream_window_size(window)
        .initial_connection_window_size(window.saturating_mul(4))
        .max_frame_size(64 * 1024)
        .max_send_buf_size(shared.settings.buffer_size);
    builder
}

type Served<A> = Response<Tracked<<A as Answer>::Body>>;

fn service<A: Answer>(
    answer: A,
    peer: Peer,
    pulse: Arc<Pulse>,
    parts: Option<Parts>,
) -> impl HttpService<Incoming, ResBody = Tracked<A::Body>, Error = Infallible, Future: Send + 'static> {
    service_fn(move |request: Request<Incoming>| {
        let open = OpenRequest::new(Arc::clone(&pulse));
        let (answer, parts) = (answer.clone(), parts.clone());
        async move {
            let response = answer.answer(request, peer).await;
            let served: Served<A> = response.map(|body| Tracked::new(body, open, parts));
            Ok(served)
        }
    })
}

/// Runs a connection under its watchdog.
async fn drive<C: GracefulConnection>(connection: C, shared: &Shared, pulse: &Pulse) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    let mut watchdog = Watchdog::new(&shared.settings);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            match ready!(watchdog.poll(cx, pulse, shared.is_crowded())) {
                Order::Serve => {}
                // Polled once more: one that was idle has ended by this.
                Order::Finish => connection.as_mut().graceful_shutdown(),
                Order::Abort => return Poll::Ready(Ok(())),
            }
        }
    })
    .await
}

/// A request that is being answered, for as long as this lives.
struct OpenRequest {
    pulse: Arc<Pulse>,
    sending: bool,
}

impl OpenRequest {
    fn new(pulse: Arc<Pulse>) -> Self {
        pulse.request_begins();
        Self { pulse, sending: false }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.sending {
            self.pulse.response_ends();
        }
        self.pulse.request_ends();
    }
}

/// A response's body, which keeps its request open.
pub(super) struct Tracked<B> {
    body: B,
    parts: Option<Parts>,
    _open: OpenRequest,
}

impl<B> Tracked<B> {
    fn new(body: B, mut open: OpenRequest, parts: Option<Parts>) -> Self {
        open.sending = true;
        open.pulse.response_begins();
        Self { body, parts, _open: open }
    }
}

impl<B: Outgoing + Body<Data = Bytes> + Unpin> Body for Tracked<B> {
    type Data = Chunk;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, B::Error>>> {
        let Self { body, parts, .. } = &mut *self;
        if let Some(parts) = parts
            && let Some(part) = body.next_part()
        {
            return Poll::Ready(Some(Ok(Frame::data(parts.push(part)))));
        }
        let frame = ready!(Pin::new(body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(Chunk::Bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
