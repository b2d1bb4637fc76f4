//! How long a connection is served at a stretch while others wait for theirs.
//!
//! The runtime polls the tasks that are ready one after another. A connection with thousands of requests or frames in
//! its buffers is always ready, so that what it may do in one turn bounds how long all others wait.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long it takes at most until each connection has had its turn.
const ROUND: Duration = Duration::from_millis(10);

/// The shortest turn: about one request.
const MIN_TURN: Duration = Duration::from_micros(50);

/// The longest turn.
const MAX_TURN: Duration = Duration::from_millis(2);

/// How often a turn among few connections is asked for its end before it reads the clock: as often as one request does.
const UNTIMED_CHECKS: u32 = 3;

/// What times are counted from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn nanoseconds() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The turn of one connection.
#[derive(Debug)]
pub(super) struct Turn {
    /// How many connections are open.
    connections: Arc<AtomicUsize>,
    ends: AtomicU64,
    /// How many more times it lasts whatever the clock says.
    untimed: AtomicU32,
}

impl Default for Turn {
    fn default() -> Self {
        Self::among(Arc::default())
    }
}

impl Turn {
    /// That of a connection among so many.
    pub(super) fn among(connections: Arc<AtomicUsize>) -> Self {
        Self { connections, ends: AtomicU64::new(u64::MAX), untimed: AtomicU32::default() }
    }

    /// It begins.
    pub(super) fn begin(&self) {
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

    /// Whether turns are short, so that little should be taken at once.
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

    /// Ready while it lasts. Afterwards the task is woken, so that it is polled again when the others have been.
    pub(super) fn poll_lasts(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_over() {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// How long a turn is among so many connections.
fn length(connections: usize) -> Duration {
    let connections = u32::try_from(connections.max(1)).unwrap_or(u32::MAX);
    (ROUND / connections).clamp(MIN_TURN, MAX_TURN)
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;

    #[test]
    fn among_many_a_turn_is_short() {
        assert_eq!(length(0), MAX_TURN);
        assert_eq!(length(1), MAX_TURN);
        assert_eq!(length(100), Duration::from_micros(100));
        assert_eq!(length(100_000), MIN_TURN);
    }

    #[test]
    fn a_turn_that_is_over_begins_again() {
        let waker = noop_waker();
        let cx = Context::from_waker(&waker);
        let turn = Turn::default();
        assert!(turn.poll_lasts(&cx).is_ready(), "who takes no turns is not held up");
        turn.begin();
        let checks = || std::iter::repeat_with(|| turn.is_over());
        assert!(!checks().take(UNTIMED_CHECKS as usize).any(|is_over| is_over));
        std::thread::sleep(MAX_TURN);
        assert!(turn.is_over() && turn.poll_lasts(&cx).is_pending());
        turn.begin();
        let lasts = turn.poll_lasts(&cx);
        assert!(lasts.is_ready() || turn.is_over());
    }
}
