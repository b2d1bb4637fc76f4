//! The access log and the metrics of each request. Both are written when the request is complete: when its response has
//! been sent or its client has disconnected.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use http_body::{Body, Frame, SizeHint};

use crate::auth::{Principal, masked};
use crate::errors::Chain;
use crate::http::exchange::Exchange;
use crate::http::listen::{Peer, ResponseBody};
use crate::http::metrics::{Ended, HttpMetrics};
use crate::http::payload::{BoxError, Payload};
use crate::oci::{Endpoint, RepoName};
use crate::store::FilePart;
use crate::traces::Span;

/// The log entry of a request in progress. It is written when this is dropped.
pub(in crate::http) struct RequestLog {
    metrics: Arc<HttpMetrics>,
    started: Instant,
    peer: Peer,
    method: Method,
    uri: Uri,
    agent: Option<HeaderValue>,
    route: &'static str,
    repository: Option<RepoName>,
    principal: Option<Principal>,
    received: Arc<AtomicU64>,
    status: Option<StatusCode>,
    sent: u64,
    complete: bool,
    span: Span,
}

impl RequestLog {
    /// Starts to count, log and trace a request.
    pub(in crate::http) fn start(exchange: &Exchange<'_>) -> Self {
        let Exchange { state, head, peer, target, .. } = exchange;
        state.metrics.record_start();
        Self {
            metrics: Arc::clone(&state.metrics),
            started: Instant::now(),
            peer: *peer,
            method: head.method.clone(),
            uri: head.uri.clone(),
            agent: head.headers.get(header::USER_AGENT).and_then(copied),
            route: exchange.route(),
            repository: target.endpoint().and_then(Endpoint::name).cloned(),
            principal: None,
            received: Arc::default(),
            status: None,
            sent: 0,
            complete: false,
            #[cfg(feature = "otlp")]
            span: super::tracing::start_span(exchange),
            #[cfg(not(feature = "otlp"))]
            span: Span::none(),
        }
    }

    /// The span in which the request is handled.
    pub(in crate::http) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Sets the principal, if it is known.
    pub(in crate::http) fn set_principal(&mut self, principal: Option<&Principal>) {
        self.principal = principal.cloned();
    }

    /// The counter of the bytes of the request's body.
    pub(in crate::http) fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }

    fn is_operator_route(&self) -> bool {
        matches!(self.route, "root" | "livez" | "readyz" | "metrics")
    }
}

/// Copies a header's value: the original keeps the whole head of its request in memory.
fn copied(value: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let received = self.received.load(Relaxed);
        #[cfg(feature = "otlp")]
        super::tracing::end_span(&self.span, self.status, received, self.sent);
        // The client disconnected before there was a response. nginx uses the same number.
        let status = self.status.unwrap_or_else(|| StatusCode::from_u16(499).expect("three digits"));
        let route = self.route;
        let method = &self.method;
        self.metrics.record_end(&Ended { route, method, status, received, sent: self.sent, duration });
        macro_rules! write_line {
            ($level:ident) => {
                tracing::$level!(
                    target: "orlop::access",
                    method = method.as_str(),
                    path = &*masked(self.uri.path()),
                    status = status.as_u16(),
                    route,
                    repository = self.repository.as_ref().map(RepoName::as_str),
                    user = self.principal.as_ref().and_then(Principal::name),
                    received,
                    sent = self.sent,
                    ms = duration.as_secs_f64() * 1e3,
                    remote = %self.peer,
                    agent = self.agent.as_ref().and_then(|agent| agent.to_str().ok()),
                    aborted = (!self.complete).then_some(true),
                )
            };
        }
        // Probes and scrapers send requests all day.
        if self.is_operator_route() { write_line!(debug) } else { write_line!(info) }
    }
}

/// A response's body, which writes down what became of its request when it has been sent or dropped.
pub struct LoggedBody {
    payload: Payload,
    /// Absent where a request was refused before it was looked at.
    request_log: Option<RequestLog>,
}

impl LoggedBody {
    pub(in crate::http) fn new(payload: Payload, status: StatusCode, mut request_log: RequestLog) -> Self {
        request_log.status = Some(status);
        Self { payload, request_log: Some(request_log) }
    }

    /// The body of a response to a request that is not logged.
    pub(in crate::http) fn unrecorded(payload: Payload) -> Self {
        Self { payload, request_log: None }
    }

    fn count_sent(&mut self, bytes: u64) {
        if let Some(request_log) = &mut self.request_log {
            request_log.sent += bytes;
        }
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        // hyper stops polling after the last announced byte, so the end of the body may not have been seen.
        if let Some(request_log) = &mut self.request_log {
            request_log.complete |= self.payload.is_end_stream();
        }
    }
}

impl ResponseBody for LoggedBody {
    fn next_part(&mut self) -> Option<FilePart> {
        let part = self.payload.next_part()?;
        self.count_sent(part.range.end - part.range.start);
        Some(part)
    }

    fn in_memory(&self) -> Option<usize> {
        self.payload.in_memory()
    }

    fn limit_pieces(&mut self, bytes: usize) {
        self.payload.limit_pieces(bytes);
    }
}

impl Body for LoggedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.payload).poll_frame(cx));
        match (&frame, &mut self.request_log) {
            (Some(Ok(frame)), _) => self.count_sent(frame.data_ref().map_or(0, |data| data.len() as u64)),
            (None, Some(request_log)) => request_log.complete = true,
            (Some(Err(error)), Some(request_log)) => {
                tracing::error!(path = request_log.uri.path(), error = %Chain(&**error), "response aborted");
            }
            (_, None) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.payload.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.payload.size_hint()
    }
}
