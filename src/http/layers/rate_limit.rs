//! Limits the requests per second of each client.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::RwLock;

use crate::fair::client_network;
use crate::http::exchange::Exchange;
use crate::http::rejection::Rejection;

/// How many seconds' worth of requests an idle client may send at once: a push or pull of many layers starts with a
/// burst.
const BURST: u32 = 10;

/// The most clients whose requests are counted.
const MAX_CLIENTS: usize = 10_000;

type Clients<C> = RateLimiter<IpAddr, HashMapStateStore<IpAddr>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The recent requests of each client.
pub(super) struct RateLimit<C: Clock = DefaultClock> {
    quota: Quota,
    clock: C,
    clients: RwLock<Clients<C>>,
}

impl RateLimit {
    /// A limit of requests per second for each client; `None` for 0, which means no limit.
    pub(super) fn new(per_second: u32) -> Option<Self> {
        NonZeroU32::new(per_second).map(|per_second| Self::with_clock(DefaultClock::default(), per_second))
    }
}

impl<C: Clock + Clone> RateLimit<C> {
    fn with_clock(clock: C, per_second: NonZeroU32) -> Self {
        let burst = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(BURST - 1));
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let clients = RwLock::new(RateLimiter::hashmap_with_clock(quota, clock.clone()));
        Self { quota, clock, clients }
    }

    /// Counts a request, and checks that its client may send it now. Requests without an address come through a socket
    /// of this machine and have no limit.
    ///
    /// # Errors
    /// 429 with the time that the client has to wait.
    pub(super) fn check(&self, exchange: &Exchange<'_>) -> Result<(), Rejection> {
        match exchange.peer.address() {
            Some(address) if !exchange.is_probe() => self.allow(address).map_err(Rejection::rate_limited),
            _ => Ok(()),
        }
    }

    fn allow(&self, client: IpAddr) -> Result<(), Duration> {
        let clients = self.clients.read();
        let allowed = clients.check_key(&client_network(client));
        let is_full = clients.len() > MAX_CLIENTS;
        drop(clients);
        if is_full {
            self.forget_idle_clients();
        }
        allowed.map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Forgets idle clients. If that is not enough, forgets all clients, so that early clients have no advantage over
    /// new ones.
    fn forget_idle_clients(&self) {
        let mut clients = self.clients.write();
        clients.retain_recent();
        if clients.len() > MAX_CLIENTS / 2 {
            *clients = RateLimiter::hashmap_with_clock(self.quota, self.clock.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(per_second: u32) -> (RateLimit<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (RateLimit::with_clock(clock.clone(), NonZeroU32::new(per_second).expect("some")), clock)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_client_has_its_rate_and_a_burst() {
        let (limit, clock) = limit(2);
        let one = address("192.0.2.1");
        let other = address("192.0.2.2");
        let burst = (0..100).filter(|_| limit.allow(one).is_ok()).count();
        assert_eq!(burst, 20);
        assert_eq!(limit.allow(one), Err(SECOND / 2));
        assert_eq!(limit.allow(other), Ok(()));
        clock.advance(SECOND);
        let second = (0..100).filter(|_| limit.allow(one).is_ok()).count();
        assert_eq!(second, 2);
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let (limit, _clock) = limit(1);
        let allowed = (0..100).filter(|host| limit.allow(address(&format!("2001:db8::{host:x}"))).is_ok());
        assert_eq!(allowed.count(), 10);
        assert!(limit.allow(address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn the_number_of_counted_clients_is_bounded() {
        let (limit, clock) = limit(1);
        let crowd = |start: u32| {
            for number in start..start + 25_000 {
                limit.allow(IpAddr::from(number.to_be_bytes())).ok();
                assert!(limit.clients.read().len() <= MAX_CLIENTS);
            }
        };
        crowd(0);
        clock.advance(60 * SECOND);
        crowd(1 << 24);
    }

    #[test]
    fn zero_means_no_limit() {
        assert!(RateLimit::new(0).is_none());
    }
}
