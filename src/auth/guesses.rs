//! Slows those down who guess passwords.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many wrong guesses an address has free.
const FREE: u32 = 10;

/// In what time it gets one back.
const EACH: Duration = Duration::from_secs(2);

/// Of how many addresses is known that they guess.
const MOST: usize = 10_000;

/// The wrong guesses by address.
#[derive(Default)]
pub(super) struct Guesses {
    /// When an address will have all its guesses back.
    whole_at: Mutex<HashMap<IpAddr, Duration>>,
}

impl Guesses {
    /// Whether an address may guess now.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(super) fn allow(&self, from: IpAddr, now: Duration) -> Result<(), Duration> {
        let whole_at = self.lock().get(&network(from)).copied().unwrap_or_default();
        let wait = whole_at.saturating_sub(now).saturating_sub(EACH * (FREE - 1));
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// Notes that one was wrong.
    pub(super) fn wrong(&self, from: IpAddr, now: Duration) {
        let mut whole_at = self.lock();
        if whole_at.len() >= MOST {
            whole_at.retain(|_, at| *at > now);
        }
        if whole_at.len() >= MOST {
            // Everybody guesses. Who came first is no better than who comes now.
            whole_at.clear();
        }
        let at = whole_at.entry(network(from)).or_default();
        *at = (*at).max(now) + EACH;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Duration>> {
        self.whole_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one customer of a provider has: an address or, of version 6, 64 bits of one.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn some_are_free_and_come_back_one_by_one() {
        let (guesses, from) = (Guesses::default(), address("10.0.0.1"));
        for _ in 0..FREE {
            assert_eq!(guesses.allow(from, 100 * SECOND), Ok(()));
            guesses.wrong(from, 100 * SECOND);
        }
        assert_eq!(guesses.allow(from, 100 * SECOND), Err(EACH));
        assert_eq!(guesses.allow(address("10.0.0.2"), 100 * SECOND), Ok(()));
        assert_eq!(guesses.allow(from, 100 * SECOND + EACH), Ok(()));
        guesses.wrong(from, 100 * SECOND + EACH);
        assert_eq!(guesses.allow(from, 100 * SECOND + EACH), Err(EACH));
    }

    #[test]
    fn a_network_of_version_6_is_one() {
        let guesses = Guesses::default();
        for host in 0..FREE {
            guesses.wrong(address(&format!("2001:db8::{host:x}")), SECOND);
        }
        assert!(guesses.allow(address("2001:db8::ffff"), SECOND).is_err());
        assert!(guesses.allow(address("2001:db8:0:1::1"), SECOND).is_ok());
        assert_eq!(network(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room() {
        let guesses = Guesses::default();
        for number in 0..MOST + 5 {
            let [.., a, b] = u32::try_from(number).expect("small").to_be_bytes();
            guesses.wrong(IpAddr::from([10, 1, a, b]), SECOND);
        }
        assert!(guesses.lock().len() <= MOST);
    }
}
