//! `[traces]`: export of spans to a collector.

use serde::{Deserialize, Serialize};

use super::text::{Text, display_inner, text_serde};
use super::units::Percent;

text_serde!(CollectorUrl);
display_inner!(CollectorUrl);

/// Export of traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// URL of a collector that accepts OTLP over HTTP.
    pub endpoint: Option<CollectorUrl>,
    /// Share of requests that are traced, unless the client has decided it.
    pub sample: Percent,
}

impl Default for Traces {
    fn default() -> Self {
        Self { endpoint: None, sample: Percent(100) }
    }
}

/// Whether this build can export spans.
pub const HAS_TRACES: bool = cfg!(feature = "otlp");

/// The URL of a collector. It may not contain a password, so it can be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl(String);

impl CollectorUrl {
    /// Returns the URL for spans (OTLP specification, "OTLP/HTTP request").
    pub fn of_traces(&self) -> String {
        format!("{}/v1/traces", self.0.trim_end_matches("/v1/traces"))
    }
}

impl Text for CollectorUrl {
    const EXPECTED: &'static str = "the URL of a collector, such as \"http://localhost:4318\"";

    fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let web = matches!(uri.scheme_str()?, "http" | "https");
        let host = uri.host().is_some_and(|host| !host.is_empty());
        let bare = uri.query().is_none() && !text.contains(['#', '@']);
        (web && host && bare).then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_the_url_for_spans() {
        let traces = |text| CollectorUrl::parse(text).map(|url| url.of_traces());
        for text in ["http://localhost:4318", "http://localhost:4318/", "http://localhost:4318/v1/traces"] {
            assert_eq!(traces(text).as_deref(), Some("http://localhost:4318/v1/traces"), "{text}");
        }
        assert_eq!(traces("https://c.example/otlp/").as_deref(), Some("https://c.example/otlp/v1/traces"));
        for text in [
            "",
            "localhost:4318",
            "grpc://localhost",
            "http://",
            "http://key@c.example",
            "http://c.example/?key=1",
        ] {
            assert_eq!(traces(text), None, "{text}");
        }
    }
}
