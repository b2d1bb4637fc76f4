//! A fake trace collector.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use orlop::http::listen::{ListenSettings, serve};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A received span.
#[derive(Debug, Clone)]
pub struct ReceivedSpan {
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    /// 1 for an internal span, 2 for a server span.
    pub kind: i32,
    pub service: (String, String),
    time: std::ops::Range<u64>,
    attributes: Vec<(String, String)>,
}

/// Receives spans over OTLP/HTTP.
#[derive(Clone)]
pub struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let collector = Self { address: listener.local_addr().expect("an address"), bodies: Arc::default() };
        let router = axum::Router::new().route("/v1/traces", post(receive)).with_state(collector.clone());
        let settings = ListenSettings::default();
        tokio::spawn(serve(listener, router, settings, CancellationToken::default()));
        collector
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans received so far.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        let bodies = self.bodies.lock().expect("lock");
        let requests =
            bodies.iter().map(|(_, body)| ExportTraceServiceRequest::decode(body.clone()).expect("protobuf"));
        requests
            .flat_map(|request| request.resource_spans)
            .flat_map(|of_service| {
                let resource = texts(&of_service.resource.expect("a resource").attributes);
                let service = (text(&resource, "service.name"), text(&resource, "service.version"));
                let spans = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.map(move |span| ReceivedSpan::new(span, service.clone())).collect::<Vec<_>>()
            })
            .collect()
    }

    /// All received requests, including headers, as lossy text.
    pub fn text(&self) -> String {
        let bodies = self.bodies.lock().expect("lock");
        bodies.iter().map(|(headers, body)| format!("{headers:?}{}", String::from_utf8_lossy(body))).collect()
    }

    /// Waits until the received spans satisfy `is_enough`.
    pub async fn wait_until(&self, is_enough: impl Fn(&[ReceivedSpan]) -> bool) {
        let wait = async {
            while !is_enough(&self.spans()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let outcome = tokio::time::timeout(Duration::from_secs(60), wait).await;
        assert!(outcome.is_ok(), "{:?}", self.spans());
    }
}

async fn receive(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    collector.bodies.lock().expect("lock").push((headers, body));
}

impl ReceivedSpan {
    fn new(span: Span, service: (String, String)) -> Self {
        assert!(span.events.is_empty() && span.links.is_empty() && span.trace_state.is_empty(), "{span:?}");
        Self {
            trace: hex::encode(&span.trace_id),
            id: hex::encode(&span.span_id),
            parent: hex::encode(&span.parent_span_id),
            kind: span.kind,
            service,
            time: span.start_time_unix_nano..span.end_time_unix_nano,
            attributes: texts(&span.attributes),
            name: span.name,
        }
    }

    pub fn attribute(&self, key: &str) -> String {
        text(&self.attributes, key)
    }

    /// Whether the span has a start and a later end.
    pub fn is_complete(&self) -> bool {
        self.time.start > 0 && !self.time.is_empty()
    }
}

/// The spans with this name.
pub fn spans_of<'a>(seen: &'a [ReceivedSpan], name: &str) -> Vec<&'a ReceivedSpan> {
    seen.iter().filter(|seen| seen.name == name).collect()
}

fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let value = |attribute: &KeyValue| match attribute.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect()
}

fn text(attributes: &[(String, String)], key: &str) -> String {
    let found = attributes.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}
