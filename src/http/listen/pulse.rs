//! What a connection is doing, and for how long it may go on doing that.
//!
//! Deadlines are kept by looking at the connection every few seconds, not by a timer for each of them that
//! every request would have to set and reset: a request costs a few relaxed atomics. A deadline is thus
//! kept to within a quarter of itself.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::ListenSettings;

/// What is shared by a connection's bytes, its requests, its watchdog and the listener.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    requests: AtomicU32,
    sending: AtomicU32,
    served: AtomicU64,
    head_begun: AtomicBool,
    multiplexed: AtomicBool,
    written: AtomicU64,
    order: AtomicU8,
    waker: AtomicWaker,
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

impl Pulse {
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

    pub(super) fn response_begins(&self) {
        self.sending.fetch_add(1, Relaxed);
    }

    pub(super) fn response_ends(&self) {
        self.sending.fetch_sub(1, Relaxed);
    }

    pub(super) fn request_ends(&self) {
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
        if self.sending.load(Relaxed) > 0 {
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
    /// A response goes out.
    Sending { written: u64 },
    /// Between two requests.
    Idle { served: u64 },
}

/// Looks at a [`Pulse`] now and then.
pub(super) struct Watchdog {
    tick: Interval,
    head: Duration,
    write: Duration,
    idle: Duration,
    phase: Phase,
    since: Instant,
    finishing: bool,
}

impl Watchdog {
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

    /// Ready when the connection must end, one way or the other.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, pulse: &Pulse, crowded: bool) -> Poll<Order> {
        if let Poll::Ready(order) = pulse.poll_ordered(cx)
            && (order == Order::Abort || !self.finishing)
        {
            self.finishing = true;
            return Poll::Ready(order);
        }
        while let Poll::Ready(now) = self.tick.poll_tick(cx) {
            if let Some(order) = self.judge(pulse.phase(), now, crowded) {
                self.finishing = true;
                return Poll::Ready(order);
            }
        }
        Poll::Pending
    }

    fn judge(&mut self, phase: Phase, now: Instant, crowded: bool) -> Option<Order> {
        if phase != self.phase {
            self.phase = phase;
            self.since = now;
            return None;
        }
        let (limit, order) = match phase {
            Phase::Working => return None,
            Phase::Head { .. } => (self.head, Order::Abort),
            Phase::Sending { .. } => (self.write, Order::Abort),
            // What was told to finish and has nothing left to do is only waiting for the client's goodbye.
            Phase::Idle { .. } if self.finishing => (self.head, Order::Abort),
            // Where every place is taken, those who only keep theirs warm go first.
            Phase::Idle { .. } if crowded => (self.idle.min(self.head), Order::Finish),
            Phase::Idle { .. } => (self.idle, Order::Finish),
        };
        (now.duration_since(self.since) >= limit).then_some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watchdog() -> Watchdog {
        Watchdog::new(&ListenSettings {
            head_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(120),
            ..ListenSettings::default()
        })
    }

    /// What the watchdog says after the connection was in this state for so many seconds.
    fn after(watchdog: &mut Watchdog, pulse: &Pulse, seconds: u64) -> Option<Order> {
        let start = watchdog.since;
        let first = watchdog.judge(pulse.phase(), start, false);
        first.or_else(|| watchdog.judge(pulse.phase(), start + Duration::from_secs(seconds), false))
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_left() {
        let (mut watchdog, pulse) = (watchdog(), Pulse::default());
        assert_eq!(after(&mut watchdog, &pulse, 14), None);
        assert_eq!(after(&mut watchdog, &pulse, 15), Some(Order::Abort));
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_politely_and_half_a_head_is_not() {
        let (mut watchdog, pulse) = (watchdog(), Pulse::default());
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
    async fn a_slow_reader_may_be_slow_but_not_stand_still() {
        let (mut watchdog, pulse) = (watchdog(), Pulse::default());
        pulse.request_begins();
        assert_eq!(after(&mut watchdog, &pulse, 10_000), None);
        pulse.response_begins();
        assert_eq!(after(&mut watchdog, &pulse, 59), None);
        pulse.bytes_written(1);
        assert_eq!(after(&mut watchdog, &pulse, 59), None);
        assert_eq!(after(&mut watchdog, &pulse, 60), Some(Order::Abort));
    }

    #[tokio::test]
    async fn who_finished_gets_no_second_idle_time() {
        let (mut watchdog, pulse) = (watchdog(), Pulse::default());
        pulse.request_begins();
        pulse.request_ends();
        watchdog.finishing = true;
        assert_eq!(after(&mut watchdog, &pulse, 15), Some(Order::Abort));
    }
}
