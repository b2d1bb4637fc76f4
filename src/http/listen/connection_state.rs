//! What a connection is doing, and for how long it may go on doing that.
//!
//! Deadlines are kept by looking at the connection every few seconds, not by a timer for each of them that
//! every request would have to set and reset: a request costs a few relaxed atomics. A deadline is thus
//! kept to within a quarter of itself.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::ListenSettings;
use super::turn::Turn;
use crate::memory::{Holder, MAX_WAIT};

/// How long a client may take none of the bytes that wait for it where nothing is scarce. Some stop reading while they
/// unpack; one that is gone without a word must not stay for ever.
const MAX_STALL: Duration = Duration::from_secs(60 * 60);

/// How long a connection must have been without a request to be closed for another: a client that has just got an answer may
/// be sending its next request.
const MIN_QUIET: Duration = Duration::from_millis(500);

/// The same before its first request.
const MIN_QUIET_OF_NEW: Duration = Duration::from_secs(2);

/// The time in milliseconds, of a clock that never goes back. It may be late by a tick of the kernel, up to 10 ms, and costs
/// less than the exact one: each request reads it.
pub(super) fn milliseconds() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds * 1000 + nanoseconds / 1_000_000
}

/// What is shared by a connection's bytes, its requests, its watchdog and the listener.
#[derive(Debug)]
pub(super) struct ConnectionState {
    requests: AtomicU32,
    sending: AtomicU32,
    served: AtomicU64,
    head_begun: AtomicBool,
    multiplexed: AtomicBool,
    written: AtomicU64,
    order: AtomicU8,
    waker: AtomicWaker,
    authenticated: AtomicBool,
    unread: AtomicBool,
    braked: AtomicBool,
    useful: AtomicBool,
    useful_at: AtomicU64,
    active_at: AtomicU64,
    turn: Turn,
}

impl Default for ConnectionState {
    fn default() -> Self {
        Self {
            requests: AtomicU32::default(),
            sending: AtomicU32::default(),
            served: AtomicU64::default(),
            head_begun: AtomicBool::default(),
            multiplexed: AtomicBool::default(),
            written: AtomicU64::default(),
            order: AtomicU8::default(),
            waker: AtomicWaker::default(),
            authenticated: AtomicBool::default(),
            unread: AtomicBool::default(),
            braked: AtomicBool::default(),
            useful: AtomicBool::default(),
            useful_at: AtomicU64::new(milliseconds()),
            active_at: AtomicU64::new(milliseconds()),
            turn: Turn::default(),
        }
    }
}

/// What the listener wants of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Order {
    /// Take as many requests as come.
    Serve,
    /// End after the requests that have begun.
    Finish,
    /// End.
    Abort,
}

impl ConnectionState {
    /// That of a connection which takes turns with others.
    pub(super) fn with(turn: Turn) -> Self {
        Self { turn, ..Self::default() }
    }

    /// How long it may go on before others have their turn.
    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Tells the connection what to do.
    pub(super) fn command(&self, order: Order) {
        self.order.fetch_max(order as u8, Relaxed);
        self.waker.wake();
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Relaxed) {
            0 => Order::Serve,
            1 => Order::Finish,
            _ => Order::Abort,
        }
    }

    /// Ready when the listener has ordered an end.
    pub(super) fn poll_ordered(&self, cx: &Context<'_>) -> Poll<Order> {
        self.waker.register(cx.waker());
        match self.order() {
            Order::Serve => Poll::Pending,
            order => Poll::Ready(order),
        }
    }

    /// The connection speaks HTTP/2: bytes that come between requests need not be a request's head.
    pub(super) fn set_multiplexed(&self) {
        self.multiplexed.store(true, Relaxed);
    }

    pub(super) fn request_begins(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.head_begun.store(false, Relaxed);
    }

    /// How many requests are open.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    /// A request on it came from somebody who is known.
    pub(super) fn note_authenticated(&self) {
        self.authenticated.store(true, Relaxed);
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Relaxed)
    }

    /// Whose share its memory counts in.
    pub(super) fn holder(&self) -> Holder {
        if self.is_authenticated() { Holder::Authenticated } else { Holder::Anonymous }
    }

    /// A request on it was one of a client's work, not a probe.
    pub(super) fn note_useful(&self) {
        self.useful.store(true, Relaxed);
    }

    /// When it was last of use, or began.
    pub(super) fn useful_at(&self) -> u64 {
        self.useful_at.load(Relaxed)
    }

    /// Whether nothing is lost when it is closed `now`: it answers no request, and none is likely to be on its way.
    pub(super) fn may_be_closed(&self, now: u64) -> bool {
        if self.requests() > 0 || self.order() != Order::Serve {
            return false;
        }
        let idle = now.saturating_sub(self.active_at.load(Relaxed));
        let is_new = self.served.load(Relaxed) == 0;
        let quiet = if is_new { MIN_QUIET_OF_NEW } else { MIN_QUIET };
        u128::from(idle) >= quiet.as_millis()
    }

    /// A request's body was not read to its end, or was after all.
    pub(super) fn set_unread(&self, unread: bool) {
        self.unread.store(unread, Relaxed);
    }

    /// Whether bytes of the client's may be on their way that nobody reads.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Relaxed) || (self.head_begun.load(Relaxed) && !self.multiplexed.load(Relaxed))
    }

    /// Nothing is read from it now, for memory is short; or no longer.
    pub(super) fn set_braked(&self, braked: bool) {
        self.braked.store(braked, Relaxed);
    }

    /// Whether it speaks HTTP/2.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    pub(super) fn response_begins(&self) {
        self.sending.fetch_add(1, Relaxed);
    }

    pub(super) fn response_ends(&self) {
        self.sending.fetch_sub(1, Relaxed);
    }

    pub(super) fn request_ends(&self) {
        let now = milliseconds();
        self.active_at.store(now, Relaxed);
        if self.useful.swap(false, Relaxed) {
            self.useful_at.store(now, Relaxed);
        }
        self.served.fetch_add(1, Relaxed);
        self.requests.fetch_sub(1, Relaxed);
    }

    pub(super) fn bytes_read(&self) {
        if self.requests.load(Relaxed) == 0 {
            self.head_begun.store(true, Relaxed);
        }
    }

    pub(super) fn bytes_written(&self, count: usize) {
        self.written.fetch_add(count as u64, Relaxed);
    }

    fn phase(&self) -> Phase {
        let served = self.served.load(Relaxed);
        if self.requests() == 0 && self.braked.load(Relaxed) {
            Phase::Braked
        } else if self.sending.load(Relaxed) > 0 {
            Phase::Sending { written: self.written.load(Relaxed) }
        } else if self.requests.load(Relaxed) > 0 {
            Phase::Working
        } else if served == 0 || (self.head_begun.load(Relaxed) && !self.multiplexed.load(Relaxed)) {
            Phase::Head { served }
        } else {
            Phase::Idle { served }
        }
    }
}

/// What a connection is doing. It makes progress when this changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A request's head is awaited: the first one, or one that has begun.
    Head { served: u64 },
    /// A request is worked on, or its body comes in: for that there is the body's own deadline.
    Working,
    /// It waits for memory before its next request is read.
    Braked,
    /// A response goes out.
    Sending { written: u64 },
    /// Between two requests.
    Idle { served: u64 },
}

/// What there is little of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scarcity {
    /// Most connections are in use.
    pub(super) connections: bool,
    /// The memory budget is short.
    pub(super) memory: bool,
}

impl Scarcity {
    fn of_any(self) -> bool {
        self.connections || self.memory
    }
}

/// Looks at a [`ConnectionState`] now and then.
pub(super) struct IdleTimeout {
    tick: Interval,
    head: Duration,
    write: Duration,
    idle: Duration,
    phase: Phase,
    since: Instant,
    finishing: bool,
}

impl IdleTimeout {
    pub(super) fn new(settings: &ListenSettings) -> Self {
        let shortest = settings.head_timeout.min(settings.write_timeout).min(settings.idle_timeout);
        let period = (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(5));
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            tick,
            head: settings.head_timeout,
            write: settings.write_timeout,
            idle: settings.idle_timeout,
            phase: Phase::Head { served: 0 },
            since: Instant::now(),
            finishing: false,
        }
    }

    /// Ready when the connection must end, one way or the other. Each time it looks it asks how scarce things are.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pulse: &ConnectionState,
        mut look: impl FnMut(Instant) -> Scarcity,
    ) -> Poll<Order> {
        if let Poll::Ready(order) = pulse.poll_ordered(cx)
            && (order == Order::Abort || !self.finishing)
        {
            self.finishing = true;
            return Poll::Ready(order);
        }
        while let Poll::Ready(now) = self.tick.poll_tick(cx) {
            if let Some(order) = self.judge(pulse.phase(), now, look(now)) {
                self.finishing = true;
                return Poll::Ready(order);
            }
        }
        Poll::Pending
    }

    fn judge(&mut self, phase: Phase, now: Instant, scarcity: Scarcity) -> Option<Order> {
        if phase != self.phase {
            self.phase = phase;
            self.since = now;
            return None;
        }
        let (limit, order) = match phase {
            Phase::Working => return None,
            Phase::Head { .. } => (self.head, Order::Abort),
            Phase::Braked => (MAX_WAIT, Order::Abort),
            Phase::Sending { .. } if scarcity.of_any() => (self.write, Order::Abort),
            Phase::Sending { .. } => (self.write.max(MAX_STALL), Order::Abort),
            // What was told to finish and has nothing left to do is only waiting for the client's goodbye.
            Phase::Idle { .. } if self.finishing => (self.head, Order::Abort),
            // Where every place is taken, those who only keep theirs warm go first.
            Phase::Idle { .. } if scarcity.of_any() => (self.idle.min(self.head), Order::Finish),
            Phase::Idle { .. } => (self.idle, Order::Finish),
        };
        (now.duration_since(self.since) >= limit).then_some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watchdog() -> IdleTimeout {
        IdleTimeout::new(&ListenSettings {
            head_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(120),
            ..ListenSettings::default()
        })
    }

    const SCARCE: Scarcity = Scarcity { connections: false, memory: true };

    /// What the watchdog says after the connection was in this state for so many seconds.
    fn after(watchdog: &mut IdleTimeout, pulse: &ConnectionState, seconds: u64) -> Option<Order> {
        after_in(watchdog, pulse, seconds, Scarcity::default())
    }

    fn after_in(
        watchdog: &mut IdleTimeout,
        pulse: &ConnectionState,
        seconds: u64,
        scarcity: Scarcity,
    ) -> Option<Order> {
        let start = watchdog.since;
        let first = watchdog.judge(pulse.phase(), start, scarcity);
        first.or_else(|| watchdog.judge(pulse.phase(), start + Duration::from_secs(seconds), scarcity))
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_left() {
        let (mut watchdog, pulse) = (watchdog(), ConnectionState::default());
        assert_eq!(after(&mut watchdog, &pulse, 14), None);
        assert_eq!(after(&mut watchdog, &pulse, 15), Some(Order::Abort));
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_politely_and_half_a_head_is_not() {
        let (mut watchdog, pulse) = (watchdog(), ConnectionState::default());
        pulse.request_begins();
        pulse.request_ends();
        assert_eq!(after(&mut watchdog, &pulse, 119), None);
        assert_eq!(after(&mut watchdog, &pulse, 120), Some(Order::Finish));
        pulse.bytes_read();
        assert_eq!(after(&mut watchdog, &pulse, 15), Some(Order::Abort));
        pulse.set_multiplexed();
        assert_eq!(after(&mut watchdog, &pulse, 15), None);
    }

    #[tokio::test]
    async fn a_reader_may_stand_still_unless_something_is_scarce() {
        let (mut watchdog, pulse) = (watchdog(), ConnectionState::default());
        pulse.request_begins();
        assert_eq!(after(&mut watchdog, &pulse, 10_000), None);
        pulse.response_begins();
        assert_eq!(after_in(&mut watchdog, &pulse, 59, SCARCE), None);
        pulse.bytes_written(1);
        assert_eq!(after_in(&mut watchdog, &pulse, 59, SCARCE), None);
        assert_eq!(after(&mut watchdog, &pulse, 3599), None);
        assert_eq!(after(&mut watchdog, &pulse, 3600), Some(Order::Abort));
        assert_eq!(after_in(&mut watchdog, &pulse, 60, SCARCE), Some(Order::Abort));
    }

    #[tokio::test]
    async fn who_finished_gets_no_second_idle_time() {
        let (mut watchdog, pulse) = (watchdog(), ConnectionState::default());
        pulse.request_begins();
        pulse.request_ends();
        watchdog.finishing = true;
        assert_eq!(after(&mut watchdog, &pulse, 15), Some(Order::Abort));
    }
}
