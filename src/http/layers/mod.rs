//! What every request passes before and after its handler; `App::answer` calls them.
//!
//! | layer | file |
//! | --- | --- |
//! | who sends the request, also behind a proxy | `forwarded`, called when the [`Exchange`] is created |
//! | access log, metrics, OpenTelemetry span | `request_log.rs`, `tracing.rs` |
//! | checks before the sender is authenticated | [`Checks`]: `rate_limit.rs`, `cleartext.rs` |
//! | authentication and permissions | `authentication.rs` |
//! | audit log | `audit.rs` |
//! | pages of other origins | [`Cors`]: `cors.rs` |
//! | headers of every response | [`add_headers`] |
//!
//! A new check is a file and a line in [`Checks::check`]; a header of every response is a line in [`add_headers`]. The
//! layers do not apply to the admin socket.

pub(super) mod audit;
pub(super) mod authentication;
mod cleartext;
mod cors;
mod rate_limit;
pub(super) mod request_log;
#[cfg(feature = "otlp")]
mod tracing;

use http::header::{CONTENT_SECURITY_POLICY, Entry, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

use super::exchange::Exchange;
use super::rejection::Rejection;
use super::state::HttpSettings;
use cleartext::CleartextWarnings;
pub(super) use cors::Cors;
use rate_limit::RateLimit;

const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// A year, for this host without its subdomains.
const STRICT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The checks before the sender is authenticated, and what they remember about clients.
pub(super) struct Checks {
    rate_limit: Option<RateLimit>,
    cleartext: CleartextWarnings,
}

impl Checks {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        Self { rate_limit: RateLimit::new(settings.rate_limit), cleartext: CleartextWarnings::default() }
    }

    /// Checks a request, in this order. A rejected request is logged, but is not in the audit log. Must not block.
    ///
    /// # Errors
    /// The response to a request that must not be handled, which is sent in the format of its path.
    pub(super) fn check(&self, exchange: &Exchange<'_>) -> Result<(), Rejection> {
        self.rate_limit.as_ref().map_or(Ok(()), |limit| limit.check(exchange))?;
        self.cleartext.warn_if_unencrypted(exchange);
        Ok(())
    }
}

/// Adds the headers of every response: those that restrict browsers, which registry clients ignore.
///
/// Pushed content is untrusted, and is served under this server's host name. A browser must not guess that it is a web
/// page, and must not run scripts in it or show it in a frame. A response that has its own `Content-Security-Policy`
/// keeps it.
pub(super) fn add_headers(headers: &mut HeaderMap, settings: &HttpSettings) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if let Entry::Vacant(vacant) = headers.entry(CONTENT_SECURITY_POLICY) {
        vacant.insert(POLICY);
    }
    if settings.strict_transport {
        headers.insert(STRICT_TRANSPORT_SECURITY, STRICT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_its_own_policy() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
        add_headers(&mut headers, &HttpSettings { strict_transport: true, ..HttpSettings::default() });
        assert_eq!(headers[CONTENT_SECURITY_POLICY], "default-src 'self'");
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], "max-age=31536000");
        assert_eq!(headers.len(), 3);
    }
}
