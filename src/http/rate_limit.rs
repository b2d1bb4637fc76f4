//! How many requests a client may send.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::auth::network;

/// How many seconds' worth a client that was quiet may send at once: a push or pull of many layers begins so.
const BURST: u32 = 10;

/// Of how many clients is known what they sent.
const MOST: usize = 10_000;

type Clients<C> = RateLimiter<IpAddr, HashMapStateStore<IpAddr>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// What each client sent lately.
pub(super) struct RateLimit<C: Clock = DefaultClock> {
    quota: Quota,
    clock: C,
    clients: RwLock<Clients<C>>,
}

impl RateLimit {
    /// So many requests a second from each client; no limit for none.
    pub(super) fn new(each_second: u32) -> Option<Self> {
        NonZeroU32::new(each_second).map(|each_second| Self::by(DefaultClock::default(), each_second))
    }
}

impl<C: Clock + Clone> RateLimit<C> {
    fn by(clock: C, each_second: NonZeroU32) -> Self {
        let burst = each_second.saturating_mul(NonZeroU32::MIN.saturating_add(BURST - 1));
        let quota = Quota::per_second(each_second).allow_burst(burst);
        let clients = RwLock::new(RateLimiter::hashmap_with_clock(quota, clock.clone()));
        Self { quota, clock, clients }
    }

    /// Whether a client may send one more now.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(super) fn allow(&self, client: IpAddr) -> Result<(), Duration> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        let allowed = clients.check_key(&network(client));
        let is_full = clients.len() > MOST;
        drop(clients);
        if is_full {
            self.make_room();
        }
        allowed.map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Forgets who was quiet. If that is not enough all begin anew: who came first is no better than who comes now.
    fn make_room(&self) {
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        clients.retain_recent();
        if clients.len() > MOST / 2 {
            *clients = RateLimiter::hashmap_with_clock(self.quota, self.clock.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(each_second: u32) -> (RateLimit<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (RateLimit::by(clock.clone(), NonZeroU32::new(each_second).expect("some")), clock)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_client_has_its_rate_and_a_burst() {
        let (limit, clock) = limit(2);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let burst = (0..100).filter(|_| limit.allow(one).is_ok()).count();
        assert_eq!(burst, 20);
        assert_eq!(limit.allow(one), Err(SECOND / 2));
        assert_eq!(limit.allow(other), Ok(()));
        clock.advance(SECOND);
        let second = (0..100).filter(|_| limit.allow(one).is_ok()).count();
        assert_eq!(second, 2);
    }

    #[test]
    fn a_network_of_version_6_is_one_client() {
        let (limit, _clock) = limit(1);
        let allowed = (0..100).filter(|host| limit.allow(address(&format!("2001:db8::{host:x}"))).is_ok());
        assert_eq!(allowed.count(), 10);
        assert!(limit.allow(address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn a_crowd_takes_no_more_memory() {
        let (limit, clock) = limit(1);
        let crowd = |start: u32| {
            for number in start..start + 25_000 {
                limit.allow(IpAddr::from(number.to_be_bytes())).ok();
                assert!(limit.clients.read().expect("whole").len() <= MOST);
            }
        };
        crowd(0);
        clock.advance(60 * SECOND);
        crowd(1 << 24);
    }

    #[test]
    fn none_is_no_limit() {
        assert!(RateLimit::new(0).is_none());
    }
}
