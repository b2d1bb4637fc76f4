//! What is asked of every request before anybody looks at what it wants.

use std::time::Duration;

use http::request::Parts;

use super::HttpSettings;
use super::cleartext::Cleartext;
use super::listen::Peer;
use super::operations;
use super::rate_limit::RateLimit;

/// What is remembered of clients.
pub(super) struct Guards {
    rate_limit: Option<RateLimit>,
    cleartext: Cleartext,
}

impl Guards {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        Self { rate_limit: RateLimit::new(settings.rate_limit), cleartext: Cleartext::default() }
    }

    /// Lets a request pass, or not yet. Whoever has no address uses a socket of this machine.
    ///
    /// # Errors
    /// How long its sender has to wait.
    pub(super) fn pass(&self, head: &Parts, peer: Peer, tls: bool) -> Result<(), Duration> {
        if let (Some(limit), Some(address)) = (&self.rate_limit, peer.address())
            && !operations::is_probe(head.uri.path())
        {
            limit.allow(address)?;
        }
        self.cleartext.watch(head, peer, tls);
        Ok(())
    }
}
