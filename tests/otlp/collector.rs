//! A collector in the place of one.

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
use prost::Message;
use tokio::net::TcpListener;

/// A span.
#[derive(Debug, Clone)]
pub struct Seen {
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    /// 1 for what is done inside, 2 for a server's.
    pub kind: i32,
    pub service: (String, String),
    took: std::ops::Range<u64>,
    attributes: Vec<(String, String)>,
}

/// Takes spans.
#[derive(Clone)]
pub struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let collector = Self { address: listener.local_addr().expect("an address"), bodies: Arc::default() };
        let router = axum::Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(orlop::http::listen::serve(listener, router, Default::default(), Default::default()));
        collector
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that has come.
    pub fn seen(&self) -> Vec<Seen> {
        let bodies = self.bodies.lock().expect("lock");
        let requests =
            bodies.iter().map(|(_, body)| ExportTraceServiceRequest::decode(body.clone()).expect("protobuf"));
        requests
            .flat_map(|request| request.resource_spans)
            .flat_map(|of_service| {
                let resource = texts(&of_service.resource.expect("a resource").attributes);
                let service = (text(&resource, "service.name"), text(&resource, "service.version"));
                let spans = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.map(move |span| Seen::new(span, service.clone())).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Everything that came, headers too, as far as it is text.
    pub fn text(&self) -> String {
        let bodies = self.bodies.lock().expect("lock");
        bodies.iter().map(|(headers, body)| format!("{headers:?}{}", String::from_utf8_lossy(body))).collect()
    }

    /// Waits until what has come is enough.
    pub async fn until(&self, enough: impl Fn(&[Seen]) -> bool) {
        let wait = async {
            while !enough(&self.seen()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(60), wait).await;
        assert!(came.is_ok(), "{:?}", self.seen());
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    collector.bodies.lock().expect("lock").push((headers, body));
}

impl Seen {
    fn new(span: Span, service: (String, String)) -> Self {
        assert!(span.events.is_empty() && span.links.is_empty() && span.trace_state.is_empty(), "{span:?}");
        Self {
            trace: hex::encode(&span.trace_id),
            id: hex::encode(&span.span_id),
            parent: hex::encode(&span.parent_span_id),
            kind: span.kind,
            service,
            took: span.start_time_unix_nano..span.end_time_unix_nano,
            attributes: texts(&span.attributes),
            name: span.name,
        }
    }

    pub fn attribute(&self, key: &str) -> String {
        text(&self.attributes, key)
    }

    /// Whether it has a beginning and a later end.
    pub fn is_whole(&self) -> bool {
        self.took.start > 0 && !self.took.is_empty()
    }
}

/// Those of this name.
pub fn spans_of<'a>(seen: &'a [Seen], name: &str) -> Vec<&'a Seen> {
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
