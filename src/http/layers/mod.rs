//! What every request passes before and after its handler; `App::answer` calls them.
//!
//! | layer | file |
//! | --- | --- |
//! | who sends the request, also behind a proxy | `forwarded`, called when the [`Exchange`] is created |
//! | access log, metrics, OpenTelemetry span | `request_log.rs`, `tracing.rs` |
//! | checks before the sender is authenticated | [`Checks`]: `rate_limit.rs`, `cleartext.rs` |
//! | authentication and permissions | `authentication.rs` |
//! | audit log | `audit.rs` |
//! | headers of every response | [`add_headers`]: `security_headers.rs` |
//!
//! A new check is a file and a line in [`Checks::check`]; a header of every response is a line in [`add_headers`]. The
//! layers do not apply to the admin socket.

pub(super) mod audit;
pub(super) mod authentication;
mod cleartext;
mod rate_limit;
pub(super) mod request_log;
mod security_headers;
#[cfg(feature = "otlp")]
mod tracing;

use http::HeaderMap;

use super::exchange::Exchange;
use super::rejection::Rejection;
use super::state::HttpSettings;
use cleartext::CleartextWarnings;
use rate_limit::RateLimit;

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

/// Adds the headers of every response.
pub(super) fn add_headers(headers: &mut HeaderMap, settings: &HttpSettings) {
    security_headers::add(headers, settings.strict_transport);
}
