//! Slows those down who guess passwords.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// How many wrong guesses are free, and in what time one comes back.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    free: u32,
    each: Duration,
}

/// Of an address.
const OF_ADDRESS: Allowance = Allowance { free: 10, each: Duration::from_secs(2) };

/// Of a user's name, from wherever: many more, for whoever guesses must not keep the user out.
const OF_NAME: Allowance = Allowance { free: 100, each: Duration::from_secs(1) };

/// Of how many addresses and names is known that they guess, or are guessed.
const MOST: usize = 10_000;

/// Who guesses, or is guessed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Guess {
    From(IpAddr),
    /// By a hash: names are as long as whoever guesses likes.
    Of([u8; 32]),
}

impl Guess {
    /// The address, and the name if that counts.
    fn both(from: IpAddr, name: Option<&str>) -> impl Iterator<Item = (Self, Allowance)> {
        let name = name.map(|name| (Self::Of(Sha256::digest(name).into()), OF_NAME));
        std::iter::once((Self::From(network(from)), OF_ADDRESS)).chain(name)
    }
}

/// The wrong guesses.
#[derive(Default)]
pub(super) struct LoginThrottle {
    /// When all guesses will have come back.
    whole_at: Mutex<HashMap<Guess, Duration>>,
}

impl LoginThrottle {
    /// Whether an address may guess a user's password now.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(super) fn allow(&self, from: IpAddr, name: Option<&str>, now: Duration) -> Result<(), Duration> {
        let whole_at = self.lock();
        let waits = Guess::both(from, name).map(|(guess, Allowance { free, each })| {
            let at = whole_at.get(&guess).copied().unwrap_or_default();
            at.saturating_sub(now).saturating_sub(each * (free - 1))
        });
        let wait = waits.max().unwrap_or_default();
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// Whether a guess from an address was wrong lately.
    pub(super) fn has_guessed(&self, from: IpAddr, now: Duration) -> bool {
        self.lock().get(&Guess::From(network(from))).is_some_and(|at| *at > now)
    }

    /// Notes that one was wrong.
    pub(super) fn wrong(&self, from: IpAddr, name: Option<&str>, now: Duration) {
        let mut whole_at = self.lock();
        if whole_at.len() >= MOST {
            whole_at.retain(|_, at| *at > now);
        }
        if whole_at.len() >= MOST {
            // Everybody guesses. Who came first is no better than who comes now.
            whole_at.clear();
        }
        for (guess, Allowance { each, .. }) in Guess::both(from, name) {
            let at = whole_at.entry(guess).or_default();
            *at = (*at).max(now) + each;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Guess, Duration>> {
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

    /// LoginThrottle a user's password wrong so often from an address of its own that it may not again.
    fn exhaust(guesses: &LoginThrottle, from: &str, now: Duration) {
        for at in 0..OF_ADDRESS.free {
            assert_eq!(guesses.allow(address(from), Some("ann"), now), Ok(()), "{at}");
            guesses.wrong(address(from), Some("ann"), now);
        }
    }

    #[test]
    fn where_a_guess_was_wrong_is_known_until_it_has_come_back() {
        let guesses = LoginThrottle::default();
        guesses.wrong(address("10.0.0.1"), None, SECOND);
        assert!(guesses.has_guessed(address("10.0.0.1"), SECOND));
        assert!(!guesses.has_guessed(address("10.0.0.2"), SECOND));
        assert!(!guesses.has_guessed(address("10.0.0.1"), SECOND + OF_ADDRESS.each));
    }

    #[test]
    fn some_are_free_and_come_back_one_by_one() {
        let (guesses, from) = (LoginThrottle::default(), address("10.0.0.1"));
        exhaust(&guesses, "10.0.0.1", 100 * SECOND);
        let each = OF_ADDRESS.each;
        assert_eq!(guesses.allow(from, Some("bob"), 100 * SECOND), Err(each));
        assert_eq!(guesses.allow(address("10.0.0.2"), Some("ann"), 100 * SECOND), Ok(()));
        assert_eq!(guesses.allow(from, Some("ann"), 100 * SECOND + each), Ok(()));
        guesses.wrong(from, Some("ann"), 100 * SECOND + each);
        assert_eq!(guesses.allow(from, Some("ann"), 100 * SECOND + each), Err(each));
    }

    #[test]
    fn a_name_that_many_guess_is_slowed_down_too() {
        let guesses = LoginThrottle::default();
        for host in 1..=OF_NAME.free / OF_ADDRESS.free {
            exhaust(&guesses, &format!("10.0.0.{host}"), SECOND);
        }
        assert_eq!(guesses.allow(address("10.0.1.1"), Some("ann"), SECOND), Err(OF_NAME.each));
        assert_eq!(guesses.allow(address("10.0.1.1"), Some("bob"), SECOND), Ok(()));
    }

    #[test]
    fn a_network_of_version_6_is_one() {
        let guesses = LoginThrottle::default();
        for host in 0..OF_ADDRESS.free {
            guesses.wrong(address(&format!("2001:db8::{host:x}")), Some("ann"), SECOND);
        }
        assert!(guesses.allow(address("2001:db8::ffff"), Some("ann"), SECOND).is_err());
        assert!(guesses.allow(address("2001:db8:0:1::1"), Some("ann"), SECOND).is_ok());
        assert_eq!(network(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room() {
        let guesses = LoginThrottle::default();
        for number in 0..MOST + 5 {
            let [.., a, b] = u32::try_from(number).expect("small").to_be_bytes();
            guesses.wrong(IpAddr::from([10, 1, a, b]), Some(&number.to_string()), SECOND);
        }
        assert!(guesses.lock().len() <= MOST);
    }
}
