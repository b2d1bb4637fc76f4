//! The state of a connection, and the deadlines that follow from it.
//!
//! Deadlines are checked every few seconds, not by a timer that every request would have to set and reset, so
//! a request costs only a few relaxed atomic operations. A deadline is therefore exact to within a quarter of
//! its length.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::settings::ListenSettings;
use super::time_slice::TimeSlice;
use crate::memory::{Holder, MAX_WAIT};

/// How long a client may read nothing of a response while nothing is scarce. Some clients stop reading while
/// they unpack, but one that has disappeared must not stay for ever.
const MAX_STALL: Duration = Duration::from_secs(60 * 60);

/// How long a connection must have been idle before it may be closed in favour of another: a client that has
/// just received a response may be sending its next request.
const MIN_QUIET: Duration = Duration::from_millis(500);

/// The same for a connection without a first request.
const MIN_QUIET_OF_NEW: Duration = Duration::from_secs(2);

/// The time in milliseconds of a monotonic clock. It may lag by one tick of the kernel, up to 10 ms, but is
/// cheaper to read than the exact time, and every request reads it.
pub(super) fn milliseconds() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds * 1000 + nanoseconds / 1_000_000
}

/// The state shared by a connection's byte stream, its requests, its [`IdleTimeout`] and the listener.
#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    requests: AtomicU32,
    sending: AtomicU32,
    served: AtomicU64,
    head_started: AtomicBool,
    multiplexed: AtomicBool,
    written: AtomicU64,
    close_request: AtomicU8,
    waker: AtomicWaker,
    authenticated: AtomicBool,
    unread: AtomicBool,
    paused: AtomicBool,
    works: AtomicBool,
    worked_at: AtomicU64,
    active_at: AtomicU64,
    /// Limits how long the connection is served at a stretch.
    pub(super) time_slice: TimeSlice,
}

/// What the listener asked of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum CloseRequest {
    /// Accept further requests.
    None,
    /// Close after the open requests.
    AfterRequests,
    /// Close immediately.
    Immediately,
}

impl ConnectionState {
    /// Creates the state of a connection that takes turns with others.
    pub(super) fn with_time_slice(time_slice: TimeSlice) -> Self {
        let now = milliseconds();
        Self { time_slice, worked_at: AtomicU64::new(now), active_at: AtomicU64::new(now), ..Self::default() }
    }

    /// Asks the connection to close. A weaker request does not replace a stronger one.
    pub(super) fn request_close(&self, request: CloseRequest) {
        self.close_request.fetch_max(request as u8, Relaxed);
        self.waker.wake();
    }

    pub(super) fn close_request(&self) -> CloseRequest {
        match self.close_request.load(Relaxed) {
            0 => CloseRequest::None,
            1 => CloseRequest::AfterRequests,
            _ => CloseRequest::Immediately,
        }
    }

    /// Ready when the listener has asked the connection to close.
    pub(super) fn poll_close_request(&self, cx: &Context<'_>) -> Poll<CloseRequest> {
        self.waker.register(cx.waker());
        match self.close_request() {
            CloseRequest::None => Poll::Pending,
            request => Poll::Ready(request),
        }
    }

    /// Marks the connection as HTTP/2, in which bytes between requests need not be the head of a request.
    pub(super) fn set_multiplexed(&self) {
        self.multiplexed.store(true, Relaxed);
    }

    pub(super) fn start_request(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.head_started.store(false, Relaxed);
    }

    /// The number of open requests.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    /// Records that a request on the connection was authenticated.
    pub(super) fn mark_authenticated(&self) {
        self.authenticated.store(true, Relaxed);
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Relaxed)
    }

    /// As what kind of client it counts in the memory budget.
    pub(super) fn holder(&self) -> Holder {
        if self.is_authenticated() { Holder::Authenticated } else { Holder::Anonymous }
    }

    /// Records that a request on the connection was part of a client's work, unlike a health check.
    pub(super) fn mark_work(&self) {
        self.works.store(true, Relaxed);
    }

    /// The end of the last request that was work, or the start of the connection.
    pub(super) fn worked_at(&self) -> u64 {
        self.worked_at.load(Relaxed)
    }

    /// Whether the connection can be closed at `now` without loss: it has no open request, and none is likely to be on
    /// its way.
    pub(super) fn can_be_closed(&self, now: u64) -> bool {
        if self.requests() > 0 || self.close_request() != CloseRequest::None {
            return false;
        }
        let idle = now.saturating_sub(self.active_at.load(Relaxed));
        let is_new = self.served.load(Relaxed) == 0;
        let quiet = if is_new { MIN_QUIET_OF_NEW } else { MIN_QUIET };
        u128::from(idle) >= quiet.as_millis()
    }

    /// Records whether part of a request's body is still unread.
    pub(super) fn set_unread(&self, unread: bool) {
        self.unread.store(unread, Relaxed);
    }

    /// Whether the client may still be sending bytes that are not going to be read.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Relaxed) || (self.head_started.load(Relaxed) && !self.multiplexed.load(Relaxed))
    }

    /// Records whether reading is paused because memory is short.
    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Relaxed);
    }

    /// Whether the connection speaks HTTP/2.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    pub(super) fn start_response(&self) {
        self.sending.fetch_add(1, Relaxed);
    }

    pub(super) fn finish_response(&self) {
        self.sending.fetch_sub(1, Relaxed);
    }

    pub(super) fn finish_request(&self) {
        let now = milliseconds();
        self.active_at.store(now, Relaxed);
        if self.works.swap(false, Relaxed) {
            self.worked_at.store(now, Relaxed);
        }
        self.served.fetch_add(1, Relaxed);
        self.requests.fetch_sub(1, Relaxed);
    }

    pub(super) fn record_read(&self) {
        if self.requests.load(Relaxed) == 0 {
            self.head_started.store(true, Relaxed);
        }
    }

    pub(super) fn record_write(&self, count: usize) {
        self.written.fetch_add(count as u64, Relaxed);
    }

    fn phase(&self) -> Phase {
        let served = self.served.load(Relaxed);
        if self.requests() == 0 && self.paused.load(Relaxed) {
            Phase::Paused
        } else if self.sending.load(Relaxed) > 0 {
            Phase::Sending { written: self.written.load(Relaxed) }
        } else if self.requests.load(Relaxed) > 0 {
            Phase::Working
        } else if served == 0 || (self.head_started.load(Relaxed) && !self.multiplexed.load(Relaxed)) {
            Phase::Head { served }
        } else {
            Phase::Idle { served }
        }
    }
}

/// What a connection is doing. A change of the phase counts as progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for the first request, or for the rest of a request's head.
    Head { served: u64 },
    /// A request is being handled or its body received, which has a deadline of its own.
    Working,
    /// Waits for memory before the next request is read.
    Paused,
    /// Sends a response.
    Sending { written: u64 },
    /// Waits for the next request.
    Idle { served: u64 },
}

/// The resources that are scarce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scarcity {
    /// Most connections are in use.
    pub(super) connections: bool,
    /// The memory budget is short.
    pub(super) memory: bool,
}

impl Scarcity {
    fn is_any(self) -> bool {
        self.connections || self.memory
    }
}

/// Checks the deadlines of a connection at regular intervals.
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

    /// Ready when the connection must close. `scarcity` is called at each check.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        state: &ConnectionState,
        mut scarcity: impl FnMut(Instant) -> Scarcity,
    ) -> Poll<CloseRequest> {
        if let Poll::Ready(request) = state.poll_close_request(cx)
            && (request == CloseRequest::Immediately || !self.finishing)
        {
            self.finishing = true;
            return Poll::Ready(request);
        }
        while let Poll::Ready(now) = self.tick.poll_tick(cx) {
            if let Some(request) = self.check(state.phase(), now, scarcity(now)) {
                self.finishing = true;
                return Poll::Ready(request);
            }
        }
        Poll::Pending
    }

    fn check(&mut self, phase: Phase, now: Instant, scarcity: Scarcity) -> Option<CloseRequest> {
        if phase != self.phase {
            self.phase = phase;
            self.since = now;
            return None;
        }
        let (limit, request) = match phase {
            Phase::Working => return None,
            Phase::Head { .. } => (self.head, CloseRequest::Immediately),
            Phase::Paused => (MAX_WAIT, CloseRequest::Immediately),
            Phase::Sending { .. } if scarcity.is_any() => (self.write, CloseRequest::Immediately),
            Phase::Sending { .. } => (self.write.max(MAX_STALL), CloseRequest::Immediately),
            // The connection has finished its requests and only waits for the client to close.
            Phase::Idle { .. } if self.finishing => (self.head, CloseRequest::Immediately),
            // If connections or memory are scarce, idle connections close sooner.
            Phase::Idle { .. } if scarcity.is_any() => {
                (self.idle.min(self.head), CloseRequest::AfterRequests)
            }
            Phase::Idle { .. } => (self.idle, CloseRequest::AfterRequests),
        };
        (now.duration_since(self.since) >= limit).then_some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_timeout() -> IdleTimeout {
        IdleTimeout::new(&ListenSettings {
            head_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(120),
            ..ListenSettings::default()
        })
    }

    const SCARCE: Scarcity = Scarcity { connections: false, memory: true };

    /// What the timeout asks for after the connection was in this state for `seconds`.
    fn after(idle_timeout: &mut IdleTimeout, state: &ConnectionState, seconds: u64) -> Option<CloseRequest> {
        after_in(idle_timeout, state, seconds, Scarcity::default())
    }

    fn after_in(
        idle_timeout: &mut IdleTimeout,
        state: &ConnectionState,
        seconds: u64,
        scarcity: Scarcity,
    ) -> Option<CloseRequest> {
        let start = idle_timeout.since;
        let first = idle_timeout.check(state.phase(), start, scarcity);
        first.or_else(|| idle_timeout.check(state.phase(), start + Duration::from_secs(seconds), scarcity))
    }

    #[tokio::test]
    async fn aborts_a_client_that_sends_nothing() {
        let mut idle_timeout = new_timeout();
        let state = ConnectionState::default();
        assert_eq!(after(&mut idle_timeout, &state, 14), None);
        assert_eq!(after(&mut idle_timeout, &state, 15), Some(CloseRequest::Immediately));
    }

    #[tokio::test]
    async fn finishes_an_idle_connection_and_aborts_an_incomplete_head() {
        let mut idle_timeout = new_timeout();
        let state = ConnectionState::default();
        state.start_request();
        state.finish_request();
        assert_eq!(after(&mut idle_timeout, &state, 119), None);
        assert_eq!(after(&mut idle_timeout, &state, 120), Some(CloseRequest::AfterRequests));
        state.record_read();
        assert_eq!(after(&mut idle_timeout, &state, 15), Some(CloseRequest::Immediately));
        state.set_multiplexed();
        assert_eq!(after(&mut idle_timeout, &state, 15), None);
    }

    #[tokio::test]
    async fn a_reader_may_stall_longer_while_nothing_is_scarce() {
        let mut idle_timeout = new_timeout();
        let state = ConnectionState::default();
        state.start_request();
        assert_eq!(after(&mut idle_timeout, &state, 10_000), None);
        state.start_response();
        assert_eq!(after_in(&mut idle_timeout, &state, 59, SCARCE), None);
        state.record_write(1);
        assert_eq!(after_in(&mut idle_timeout, &state, 59, SCARCE), None);
        assert_eq!(after(&mut idle_timeout, &state, 3599), None);
        assert_eq!(after(&mut idle_timeout, &state, 3600), Some(CloseRequest::Immediately));
        assert_eq!(after_in(&mut idle_timeout, &state, 60, SCARCE), Some(CloseRequest::Immediately));
    }

    #[tokio::test]
    async fn a_finished_connection_gets_only_the_head_timeout() {
        let mut idle_timeout = new_timeout();
        let state = ConnectionState::default();
        state.start_request();
        state.finish_request();
        idle_timeout.finishing = true;
        assert_eq!(after(&mut idle_timeout, &state, 15), Some(CloseRequest::Immediately));
    }
}
