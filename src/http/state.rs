//! The settings of the HTTP server, and the state that its handlers share.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::forwarded::TrustedProxies;
use super::health::Health;
use super::metrics::HttpMetrics;
use crate::auth::AccessControl;
use crate::oci::PageLimits;
use crate::registry::Registry;

/// The settings of the HTTP server.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The largest accepted manifest in bytes.
    pub max_manifest_size: usize,
    /// The most tags that a push of a manifest may set.
    pub max_tags: usize,
    /// How long a request may send no bytes of its body.
    pub body_idle_timeout: Duration,
    /// The default and the largest number of entries in a page of a list.
    pub pages: PageLimits,
    /// The URL at which clients reach this registry, without a trailing slash. If it is set, `Location` and `Link`
    /// headers start with it; otherwise they are relative.
    pub public_url: Option<String>,
    /// Whether the server itself uses TLS.
    pub tls: bool,
    /// The most requests that a client may send per second; 0 for no limit.
    pub rate_limit: u32,
    /// Whether to send `Strict-Transport-Security`, which makes browsers use TLS on all ports of this host.
    pub strict_transport: bool,
    /// The origins whose pages may use `/v2` and the API, as browsers send them in `Origin`.
    pub cors_origins: Vec<HeaderValue>,
    /// The proxies whose forwarding headers are trusted.
    pub trusted_proxies: TrustedProxies,
    /// Whether there are web pages.
    pub ui: bool,
    /// The most pages that are updated live at the same time.
    pub live_pages: usize,
    /// All settings in force as text, without secrets, for administrators.
    pub settings_text: String,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_manifest_size: 4 * 1024 * 1024,
            max_tags: 100,
            body_idle_timeout: Duration::from_secs(60),
            pages: PageLimits { default: 1000, max: 10_000 },
            public_url: None,
            tls: false,
            rate_limit: 0,
            strict_transport: false,
            cors_origins: Vec::new(),
            trusted_proxies: TrustedProxies::default(),
            ui: true,
            live_pages: 256,
            settings_text: String::new(),
        }
    }
}

impl HttpSettings {
    /// The address of `path` for clients: absolute if there is a public URL.
    pub(super) fn locate(&self, path: String) -> String {
        match &self.public_url {
            None => path,
            Some(url) => format!("{}{path}", url.trim_end_matches('/')),
        }
    }
}

/// The shared state of all request handlers.
pub struct AppState {
    /// The operations on repositories, manifests and blobs.
    pub registry: Arc<Registry>,
    /// The settings.
    pub settings: HttpSettings,
    /// The health check.
    pub health: Arc<dyn Health>,
    /// The metrics of HTTP requests.
    pub metrics: Arc<HttpMetrics>,
    /// Authentication and authorisation.
    pub access_control: Arc<AccessControl>,
    /// The metrics of all modules, which `/metrics` returns.
    pub exposition: prometheus_client::registry::Registry,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_relative_without_a_public_url() {
        let mut settings = HttpSettings::default();
        assert_eq!(settings.locate("/v2/".into()), "/v2/");
        settings.public_url = Some("https://example.org/registry/".into());
        assert_eq!(settings.locate("/v2/".into()), "https://example.org/registry/v2/");
    }
}
