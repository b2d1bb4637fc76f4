//! Warns of passwords and tokens that anybody on the way could read.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::request::Parts;

use super::forwarded;
use super::listen::Peer;

/// For how long an address is not warned of again.
const QUIET: Duration = Duration::from_secs(60 * 60);

/// Of how many addresses is known that they were warned of. While there are as many, no other is.
const MOST: usize = 1000;

/// Whom the log has warned of, and when.
#[derive(Default)]
pub(super) struct Cleartext(Mutex<HashMap<IpAddr, Instant>>);

impl Cleartext {
    /// Warns if a request brings credentials in the clear, at most once an hour of an address.
    pub(super) fn watch(&self, head: &Parts, peer: Peer, tls: bool) {
        if let Some(address) = peer.address()
            && head.headers.contains_key(AUTHORIZATION)
            && !address.is_loopback()
            && !forwarded::is_https(head, tls)
            && self.is_news(address, Instant::now())
        {
            tracing::warn!(
                remote = %address,
                "a password or token came in the clear, where anybody on the way reads it: use TLS, here or at a \
                 proxy that server.trusted_proxies lists"
            );
        }
    }

    fn is_news(&self, address: IpAddr, now: Instant) -> bool {
        let mut warned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = |at: &Instant| now.saturating_duration_since(*at) < QUIET;
        if warned.get(&address).is_some_and(is_quiet) {
            return false;
        }
        if warned.len() >= MOST {
            warned.retain(|_, at| is_quiet(at));
        }
        let news = warned.len() < MOST;
        if news {
            warned.insert(address, now);
        }
        news
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
    fn an_address_is_news_once_an_hour() {
        let (cleartext, start) = (Cleartext::default(), Instant::now());
        assert!(cleartext.is_news(address(1), start));
        assert!(!cleartext.is_news(address(1), start + QUIET / 2));
        assert!(cleartext.is_news(address(2), start + QUIET / 2));
        assert!(cleartext.is_news(address(1), start + QUIET));
    }

    #[test]
    fn a_crowd_takes_no_more_memory_and_no_more_lines() {
        let (cleartext, start) = (Cleartext::default(), Instant::now());
        let lines = |now| (0..2 * MOST).filter(|number| cleartext.is_news(address(*number), now)).count();
        assert_eq!((lines(start), lines(start + QUIET / 2)), (MOST, 0));
        assert_eq!(cleartext.0.lock().expect("whole").len(), MOST);
        assert_eq!(lines(start + QUIET), MOST);
    }
}
