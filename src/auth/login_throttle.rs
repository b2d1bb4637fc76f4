//! Slows down password guessing, per address and per user name.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::fair::client_network;

/// How many failed logins are allowed without a wait, and the interval after which one more is.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    free: u32,
    interval: Duration,
}

/// The allowance of an address.
const ADDRESS_ALLOWANCE: Allowance = Allowance { free: 10, interval: Duration::from_secs(2) };

/// The allowance of a user name, over all addresses. It is much higher, because an attacker must not lock out the user.
const USER_ALLOWANCE: Allowance = Allowance { free: 100, interval: Duration::from_secs(1) };

/// The maximum number of addresses and user names that are tracked.
const MAX_TRACKED: usize = 10_000;

/// What failed logins are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ThrottleKey {
    Address(IpAddr),
    /// A hash of the user name, because an attacker may send names of any length.
    User([u8; 32]),
}

impl ThrottleKey {
    /// The keys of a login: its address and, if given, its user name.
    fn of_login(from: IpAddr, name: Option<&str>) -> impl Iterator<Item = (Self, Allowance)> {
        let name = name.map(|name| (Self::User(Sha256::digest(name).into()), USER_ALLOWANCE));
        std::iter::once((Self::Address(client_network(from)), ADDRESS_ALLOWANCE)).chain(name)
    }
}

/// Counts failed logins.
#[derive(Default)]
pub(super) struct LoginThrottle {
    /// When the whole allowance will be free again.
    recovered_at: Mutex<HashMap<ThrottleKey, Duration>>,
}

impl LoginThrottle {
    /// Checks whether a login from an address, as a user if one is given, may be tried now.
    ///
    /// # Errors
    /// Returns how long to wait.
    pub(super) fn check(&self, from: IpAddr, name: Option<&str>, now: Duration) -> Result<(), Duration> {
        let recovered_at = self.recovered_at.lock();
        let waits = ThrottleKey::of_login(from, name).map(|(key, Allowance { free, interval })| {
            let at = recovered_at.get(&key).copied().unwrap_or_default();
            at.saturating_sub(now).saturating_sub(interval * (free - 1))
        });
        let wait = waits.max().unwrap_or_default();
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// Whether a login from this address has failed recently.
    pub(super) fn has_recent_failure(&self, from: IpAddr, now: Duration) -> bool {
        self.recovered_at.lock().get(&ThrottleKey::Address(client_network(from))).is_some_and(|at| *at > now)
    }

    /// Counts a failed login.
    pub(super) fn record_failure(&self, from: IpAddr, name: Option<&str>, now: Duration) {
        let mut recovered_at = self.recovered_at.lock();
        if recovered_at.len() >= MAX_TRACKED {
            recovered_at.retain(|_, at| *at > now);
        }
        if recovered_at.len() >= MAX_TRACKED {
            // An attack from very many addresses. No entry deserves to be kept over another, so all are dropped.
            recovered_at.clear();
        }
        for (key, Allowance { interval, .. }) in ThrottleKey::of_login(from, name) {
            let at = recovered_at.entry(key).or_default();
            *at = (*at).max(now) + interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Fails to log in as `ann` from an address until its allowance is used up.
    fn exhaust(throttle: &LoginThrottle, from: &str, now: Duration) {
        for at in 0..ADDRESS_ALLOWANCE.free {
            assert_eq!(throttle.check(address(from), Some("ann"), now), Ok(()), "{at}");
            throttle.record_failure(address(from), Some("ann"), now);
        }
    }

    #[test]
    fn recent_failure_is_known_until_allowance_recovers() {
        let throttle = LoginThrottle::default();
        throttle.record_failure(address("10.0.0.1"), None, SECOND);
        assert!(throttle.has_recent_failure(address("10.0.0.1"), SECOND));
        assert!(!throttle.has_recent_failure(address("10.0.0.2"), SECOND));
        assert!(!throttle.has_recent_failure(address("10.0.0.1"), SECOND + ADDRESS_ALLOWANCE.interval));
    }

    #[test]
    fn free_failures_recover_one_by_one() {
        let throttle = LoginThrottle::default();
        let from = address("10.0.0.1");
        exhaust(&throttle, "10.0.0.1", 100 * SECOND);
        let interval = ADDRESS_ALLOWANCE.interval;
        assert_eq!(throttle.check(from, Some("bob"), 100 * SECOND), Err(interval));
        assert_eq!(throttle.check(address("10.0.0.2"), Some("ann"), 100 * SECOND), Ok(()));
        assert_eq!(throttle.check(from, Some("ann"), 100 * SECOND + interval), Ok(()));
        throttle.record_failure(from, Some("ann"), 100 * SECOND + interval);
        assert_eq!(throttle.check(from, Some("ann"), 100 * SECOND + interval), Err(interval));
    }

    #[test]
    fn throttles_user_name_across_addresses() {
        let throttle = LoginThrottle::default();
        for host in 1..=USER_ALLOWANCE.free / ADDRESS_ALLOWANCE.free {
            exhaust(&throttle, &format!("10.0.0.{host}"), SECOND);
        }
        assert_eq!(throttle.check(address("10.0.1.1"), Some("ann"), SECOND), Err(USER_ALLOWANCE.interval));
        assert_eq!(throttle.check(address("10.0.1.1"), Some("bob"), SECOND), Ok(()));
    }

    #[test]
    fn counts_ipv6_network_as_one_address() {
        let throttle = LoginThrottle::default();
        for host in 0..ADDRESS_ALLOWANCE.free {
            throttle.record_failure(address(&format!("2001:db8::{host:x}")), Some("ann"), SECOND);
        }
        assert!(throttle.check(address("2001:db8::ffff"), Some("ann"), SECOND).is_err());
        assert!(throttle.check(address("2001:db8:0:1::1"), Some("ann"), SECOND).is_ok());
        assert_eq!(client_network(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }

    #[test]
    fn tracks_limited_number_of_entries() {
        let throttle = LoginThrottle::default();
        for number in 0..MAX_TRACKED + 5 {
            let [.., a, b] = u32::try_from(number).expect("small").to_be_bytes();
            throttle.record_failure(IpAddr::from([10, 1, a, b]), Some(&number.to_string()), SECOND);
        }
        assert!(throttle.recovered_at.lock().len() <= MAX_TRACKED);
    }
}
