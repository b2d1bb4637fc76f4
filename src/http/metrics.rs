//! Prometheus metrics of HTTP requests. No label is a tag, digest or repository, because their number is unbounded.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The upper bounds of the histogram buckets in seconds: from half a millisecond, within which most requests end, to
/// the minutes that a large layer takes.
const SECONDS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0, 600.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

/// The metrics of HTTP requests.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    in_flight: Gauge,
    received: Family<RouteLabel, Counter>,
    sent: Family<RouteLabel, Counter>,
    seconds: Family<RouteLabel, Histogram, fn() -> Histogram>,
}

/// A completed request.
#[derive(Debug)]
pub(super) struct Ended<'a> {
    pub(super) route: &'static str,
    pub(super) method: &'a Method,
    pub(super) status: StatusCode,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) duration: Duration,
}

impl HttpMetrics {
    /// Registers the metrics with `registry`, under names that start with `orlop_http_`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            in_flight: Gauge::default(),
            received: Family::default(),
            sent: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
        };
        registry.register("orlop_http_requests", "Completed requests", metrics.requests.clone());
        registry.register("orlop_http_in_flight", "Requests in progress", metrics.in_flight.clone());
        registry.register("orlop_http_received_bytes", "Bytes of request bodies", metrics.received.clone());
        registry.register("orlop_http_sent_bytes", "Bytes of response bodies", metrics.sent.clone());
        registry.register(
            "orlop_http_request_seconds",
            "Time from the head of a request to the end of its response",
            metrics.seconds.clone(),
        );
        metrics
    }

    pub(super) fn record_start(&self) {
        self.in_flight.inc();
    }

    pub(super) fn record_end(&self, ended: &Ended<'_>) {
        self.in_flight.dec();
        let route = ended.route;
        let method = method_label(ended.method);
        let labels = RequestLabels { route, method, status: ended.status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        let label = RouteLabel { route };
        self.seconds.get_or_create(&label).observe(ended.duration.as_secs_f64());
        if ended.received > 0 {
            self.received.get_or_create(&label).inc_by(ended.received);
        }
        if ended.sent > 0 {
            self.sent.get_or_create(&label).inc_by(ended.sent);
        }
    }
}

/// The label of a method. Clients can send any method, which must not create new labels.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_once() {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry);
        metrics.record_start();
        let method = Method::from_bytes(b"BREW").expect("a token");
        metrics.record_end(&Ended {
            route: "blob",
            method: &method,
            status: StatusCode::METHOD_NOT_ALLOWED,
            received: 0,
            sent: 7,
            duration: Duration::from_millis(2),
        });
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        assert!(text.contains(r#"orlop_http_requests_total{route="blob",method="other",status="405"} 1"#));
        assert!(text.contains(r#"orlop_http_sent_bytes_total{route="blob"} 7"#));
        assert!(text.contains("orlop_http_in_flight 0"));
        assert!(text.contains(r#"orlop_http_request_seconds_count{route="blob"} 1"#));
    }
}
