//! Limits how long a connection is served before other connections get their turn.
//!
//! The runtime polls ready tasks one after another. A connection with thousands of requests or frames in its
//! buffers is always ready, so the length of its turn bounds how long all others wait.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The intended time until each connection has had its turn; longer if `MIN_TURN` makes the turns longer.
const TARGET_ROUND: Duration = Duration::from_millis(10);

/// The shortest turn: about one request.
const MIN_TURN: Duration = Duration::from_micros(50);

/// The longest turn.
const MAX_TURN: Duration = Duration::from_millis(2);

/// With few connections a turn reads the clock only after this many checks, about one request: a short turn never does.
const UNTIMED_CHECKS: u32 = 3;

/// The origin of `nanoseconds`.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn nanoseconds() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The turn of one connection.
#[derive(Debug)]
pub(super) struct TimeSlice {
    /// The number of open connections.
    connections: Arc<AtomicUsize>,
    ends: AtomicU64,
    /// The number of remaining checks that do not read the clock.
    untimed: AtomicU32,
}

impl Default for TimeSlice {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl TimeSlice {
    /// Creates the turn of a connection among `connections`.
    pub(super) fn new(connections: Arc<AtomicUsize>) -> Self {
        Self { connections, ends: AtomicU64::new(u64::MAX), untimed: AtomicU32::default() }
    }

    /// Starts the turn.
    pub(super) fn start(&self) {
        if self.is_short() {
            self.untimed.store(0, Relaxed);
            self.start_clock();
        } else {
            self.untimed.store(UNTIMED_CHECKS, Relaxed);
        }
    }

    fn start_clock(&self) {
        let turn = length(self.connections.load(Relaxed));
        let turn = u64::try_from(turn.as_nanos()).unwrap_or(u64::MAX);
        self.ends.store(nanoseconds().saturating_add(turn), Relaxed);
    }

    /// Whether turns are so short that a connection should read little at once.
    pub(super) fn is_short(&self) -> bool {
        length(self.connections.load(Relaxed)) < MAX_TURN / 4
    }

    pub(super) fn is_over(&self) -> bool {
        let untimed = self.untimed.load(Relaxed);
        if untimed == 0 {
            return nanoseconds() >= self.ends.load(Relaxed);
        }
        self.untimed.store(untimed - 1, Relaxed);
        if untimed == 1 {
            self.start_clock();
        }
        false
    }

    /// Ready until the turn is over. It then wakes the task, which is polled again after the other tasks.
    pub(super) fn poll_remaining(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_over() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The length of a turn among `connections`.
fn length(connections: usize) -> Duration {
    let connections = u32::try_from(connections.max(1)).unwrap_or(u32::MAX);
    (TARGET_ROUND / connections).clamp(MIN_TURN, MAX_TURN)
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;

    #[test]
    fn turns_are_short_among_many_connections() {
        assert_eq!(length(0), MAX_TURN);
        assert_eq!(length(1), MAX_TURN);
        assert_eq!(length(100), Duration::from_micros(100));
        assert_eq!(length(100_000), MIN_TURN);
    }

    #[test]
    fn turn_ends_and_can_be_restarted() {
        let waker = noop_waker();
        let cx = Context::from_waker(&waker);
        let slice = TimeSlice::default();
        assert!(slice.poll_remaining(&cx).is_ready(), "a turn that was never started does not end");
        slice.start();
        let checks = || std::iter::repeat_with(|| slice.is_over());
        assert!(!checks().take(UNTIMED_CHECKS as usize).any(|is_over| is_over));
        std::thread::sleep(MAX_TURN);
        assert!(slice.is_over() && slice.poll_remaining(&cx).is_pending());
        slice.start();
        let lasts = slice.poll_remaining(&cx);
        assert!(lasts.is_ready() || slice.is_over());
    }
}
