//! Checks that every request passes before it is routed: the rate limit, and the warning about cleartext credentials.

use std::time::Duration;

use http::request::Parts;

use super::HttpSettings;
use super::cleartext::CleartextWarnings;
use super::listen::Peer;
use super::operations;
use super::rate_limit::RateLimit;

/// The checks and what they remember about clients.
pub(super) struct Guards {
    rate_limit: Option<RateLimit>,
    cleartext: CleartextWarnings,
}

impl Guards {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        Self { rate_limit: RateLimit::new(settings.rate_limit), cleartext: CleartextWarnings::default() }
    }

    /// Checks a request. Requests without an address come through a socket of this machine and have no rate limit.
    ///
    /// # Errors
    /// The time that the client has to wait.
    pub(super) fn check(&self, head: &Parts, peer: Peer, tls: bool) -> Result<(), Duration> {
        if let (Some(limit), Some(address)) = (&self.rate_limit, peer.address())
            && !operations::is_probe(head.uri.path())
        {
            limit.allow(address)?;
        }
        self.cleartext.warn_if_unencrypted(head, peer, tls);
        Ok(())
    }
}
