//! OpenTelemetry spans of requests, following the semantic conventions for HTTP servers.
//!
//! A span contains only client data that was parsed and is therefore bounded: a known method, the path of a known
//! endpoint, the requested host. It never contains a query or an unparsed header.

use http::{HeaderMap, Method, StatusCode, Version};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::auth::masked;
use crate::http::exchange::Exchange;
use crate::http::forwarded;
use crate::http::paths::TOKEN_PATH;
use crate::oci::{Endpoint, RepoName};
use crate::traces::{Span, TARGET};

/// The longest host name (RFC 1035, section 2.3.4).
const MAX_HOST_LEN: usize = 255;

/// Starts the span of a request, as a part of the client's trace. Probes and scrapers get none, because they send
/// requests all day.
pub(super) fn start_span(exchange: &Exchange<'_>) -> Span {
    let Exchange { state, head, peer, target, .. } = exchange;
    let (route, endpoint, tls) = (exchange.route(), target.endpoint(), state.settings.tls);
    if matches!(route, "livez" | "readyz" | "metrics")
        || !tracing::span_enabled!(target: TARGET, tracing::Level::INFO)
    {
        return Span::none();
    }
    let method = known_method(&head.method);
    let host = forwarded::host(head).filter(|authority| authority.host().len() <= MAX_HOST_LEN);
    let address = host.as_ref().map(|host| host.host().trim_matches(['[', ']']));
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.name = format!("{} {route}", method.unwrap_or("HTTP")),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.request.method = method.unwrap_or("_OTHER"),
        http.route = template(route),
        http.response.status_code = tracing::field::Empty,
        error.type = tracing::field::Empty,
        http.request.body.size = tracing::field::Empty,
        http.response.body.size = tracing::field::Empty,
        url.scheme = if forwarded::is_https(head, tls) { "https" } else { "http" },
        url.path = endpoint.map(|endpoint| masked(&endpoint.path()).into_owned()),
        server.address = address,
        server.port = host.as_ref().and_then(http::uri::Authority::port_u16).map(i64::from),
        client.address = peer.address().map(|address| address.to_string()),
        network.protocol.version = version(head.version),
        orlop.repository = endpoint.and_then(Endpoint::name).map(|name| masked(RepoName::as_str(name)).into_owned()),
    );
    if let Some(parent) = parent(&head.headers) {
        // Fails only if spans are not exported to a collector, which does no harm.
        let _ = span.set_parent(parent);
    }
    span.into()
}

/// Records the result of a request in its span.
pub(super) fn end_span(span: &Span, status: Option<StatusCode>, received: u64, sent: u64) {
    let size = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    span.record("http.request.body.size", size(received));
    span.record("http.response.body.size", size(sent));
    let Some(status) = status else {
        // The client disconnected before there was a response, which is not a server error.
        span.record("error.type", "aborted");
        return;
    };
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "ERROR");
    }
}

/// The client's span (W3C Trace Context). Its `tracestate` is dropped: only servers that send requests themselves need
/// it, and its length is up to the client.
fn parent(headers: &HeaderMap) -> Option<Context> {
    let mut all = headers.get_all("traceparent").iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let value = value.to_str().ok().filter(|value| is_valid_traceparent(value))?;
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Traceparent(value));
    context.span().span_context().is_valid().then_some(context)
}

/// Whether a `traceparent` is well formed; only later versions may have further fields (W3C Trace Context, section
/// 3.2.2). Checked here because the library also accepts shorter numbers.
fn is_valid_traceparent(value: &str) -> bool {
    let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let mut fields = value.split('-').zip([2, 32, 16, 2]);
    let whole = |(field, len): (&str, usize)| field.len() == len && field.as_bytes().iter().all(hex);
    fields.clone().count() == 4 && fields.all(whole) && (value.len() == 55 || !value.starts_with("00"))
}

struct Traceparent<'a>(&'a str);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// The method, if the conventions define it: clients can send any word.
fn known_method(method: &Method) -> Option<&'static str> {
    let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    all.into_iter().find(|known| method.as_str() == *known)
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

/// The path template of a route. Routes of the API set theirs themselves.
fn template(route: &'static str) -> Option<&'static str> {
    Some(match route {
        "base" => "/v2/",
        "catalog" => "/v2/_catalog",
        "tags" => "/v2/{name}/tags/list",
        "manifest" => "/v2/{name}/manifests/{reference}",
        "blob" => "/v2/{name}/blobs/{digest}",
        "uploads" => "/v2/{name}/blobs/uploads/",
        "upload" => "/v2/{name}/blobs/uploads/{id}",
        "referrers" => "/v2/{name}/referrers/{digest}",
        "token" => TOKEN_PATH,
        _ => return None,
    })
}
