//! Warns in the log about passwords and tokens that are sent without TLS.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use parking_lot::Mutex;

use crate::http::exchange::Exchange;
use crate::http::forwarded;

/// The shortest time between two warnings about an address.
const WARNING_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How many addresses are remembered. While the list is full, other addresses cause no warning.
const MAX_ADDRESSES: usize = 1000;

/// The addresses that the log has warned about, and when.
#[derive(Default)]
pub(super) struct CleartextWarnings(Mutex<HashMap<IpAddr, Instant>>);

impl CleartextWarnings {
    /// Warns if a request sends credentials without TLS, at most once an hour for each address.
    pub(super) fn warn_if_unencrypted(&self, exchange: &Exchange<'_>) {
        let Exchange { state, head, peer, .. } = exchange;
        if let Some(address) = peer.address()
            && head.headers.contains_key(AUTHORIZATION)
            && !address.is_loopback()
            && !forwarded::is_https(head, state.settings.tls)
            && self.should_warn(address, Instant::now())
        {
            tracing::warn!(
                remote = %address,
                "a password or token was sent in the clear and can be read on the network; enable TLS here or at a \
                 proxy listed in server.trusted_proxies"
            );
        }
    }

    fn should_warn(&self, address: IpAddr, now: Instant) -> bool {
        let mut warned = self.0.lock();
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < WARNING_INTERVAL;
        if warned.get(&address).is_some_and(is_recent) {
            return false;
        }
        if warned.len() >= MAX_ADDRESSES {
            warned.retain(|_, at| is_recent(at));
        }
        let has_space = warned.len() < MAX_ADDRESSES;
        if has_space {
            warned.insert(address, now);
        }
        has_space
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> IpAddr {
        let [.., a, b] = number.to_be_bytes();
        IpAddr::from([10, 0, a, b])
    }

    #[test]
    fn warns_about_an_address_once_an_hour() {
        let cleartext = CleartextWarnings::default();
        let start = Instant::now();
        assert!(cleartext.should_warn(address(1), start));
        assert!(!cleartext.should_warn(address(1), start + WARNING_INTERVAL / 2));
        assert!(cleartext.should_warn(address(2), start + WARNING_INTERVAL / 2));
        assert!(cleartext.should_warn(address(1), start + WARNING_INTERVAL));
    }

    #[test]
    fn many_addresses_are_bounded_in_memory_and_log_lines() {
        let cleartext = CleartextWarnings::default();
        let start = Instant::now();
        let lines = |now| {
            (0..2 * MAX_ADDRESSES).filter(|number| cleartext.should_warn(address(*number), now)).count()
        };
        assert_eq!((lines(start), lines(start + WARNING_INTERVAL / 2)), (MAX_ADDRESSES, 0));
        assert_eq!(cleartext.0.lock().len(), MAX_ADDRESSES);
        assert_eq!(lines(start + WARNING_INTERVAL), MAX_ADDRESSES);
    }
}
