//! What is counted about requests. Never by tag, digest or repository: those have no bound.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From half a millisecond, which most answers do not need, to the minutes of a large layer.
const SECONDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0, 600.0];

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

/// The counters of the `http` room.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    in_flight: Gauge,
    received: Family<RouteLabel, Counter>,
    sent: Family<RouteLabel, Counter>,
    seconds: Family<RouteLabel, Histogram, fn() -> Histogram>,
}

/// One request that has ended.
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
    /// Counters that `registry` shows, under names that begin with `orlop_http_`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            in_flight: Gauge::default(),
            received: Family::default(),
            sent: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
        };
        registry.register("orlop_http_requests", "Requests that have ended", metrics.requests.clone());
        registry.register("orlop_http_in_flight", "Requests being answered", metrics.in_flight.clone());
        registry.register(
            "orlop_http_received_bytes",
            "Bytes of requests' bodies",
            metrics.received.clone(),
        );
        registry.register("orlop_http_sent_bytes", "Bytes of responses' bodies", metrics.sent.clone());
        registry.register(
            "orlop_http_request_seconds",
            "Time from a request's head to its response's end",
            metrics.seconds.clone(),
        );
        metrics
    }

    pub(super) fn begin(&self) {
        self.in_flight.inc();
    }

    pub(super) fn end(&self, ended: &Ended<'_>) {
        self.in_flight.dec();
        let (route, method) = (ended.route, method_label(ended.method));
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

/// A method's label. Clients may invent methods, and must not invent labels.
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
        metrics.begin();
        let method = Method::from_bytes(b"BREW").expect("a token");
        metrics.end(&Ended {
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
