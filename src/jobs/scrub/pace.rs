//! The rate limit of the scrub.

use std::time::Duration;

/// The capacity of the bucket, in seconds at the current pace; at least one chunk.
const BURST_SECONDS: f64 = 1.2;

/// The remaining work of a pass is spread over at least this time, so that it is not rushed at the end of the period.
const MIN_REMAINING: Duration = Duration::from_secs(60 * 60);

/// The work of a pass: bytes, and a fixed cost for each file opened and each row read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// The total work.
    pub(super) total: u64,
    /// The work already done.
    pub(super) done: u64,
}

/// Computes the work per second that a pass needs to end with its `period`, `elapsed` after its start. The work is
/// spread evenly; it goes faster after lost time or if the store grew, but never faster than `rate`.
pub(super) fn pace(work: Work, elapsed: Duration, period: Duration, rate: u64) -> f64 {
    let left = period.saturating_sub(elapsed).max(MIN_REMAINING.min(period));
    let even = work.total as f64 / period.as_secs_f64();
    let due = work.total.saturating_sub(work.done) as f64 / left.as_secs_f64();
    even.max(due).min(rate as f64)
}

/// A token bucket that may go into debt: a chunk is read in one go and paid for afterwards.
#[derive(Debug)]
pub(super) struct TokenBucket {
    balance: f64,
    chunk: f64,
    refilled_at: Duration,
}

impl TokenBucket {
    /// Creates an empty bucket for reads of up to `chunk` bytes.
    pub(super) fn new(now: Duration, chunk: u64) -> Self {
        Self { balance: 0.0, chunk: chunk as f64, refilled_at: now }
    }

    /// Refills the bucket as of `now`, and returns the wait until the next read is allowed.
    pub(super) fn wait(&mut self, now: Duration, pace: f64) -> Duration {
        let passed = now.saturating_sub(self.refilled_at).as_secs_f64();
        self.refilled_at = now;
        self.balance = (self.balance + passed * pace).min((pace * BURST_SECONDS).max(self.chunk));
        if self.balance >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.balance / pace).unwrap_or(Duration::MAX)
    }

    /// Takes `work` out of the bucket.
    pub(super) fn spend(&mut self, work: u64) {
        self.balance -= work as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(done: u64, elapsed: Duration) -> f64 {
        pace(Work { total: 1_000_000_000, done }, elapsed, 10 * DAY, 1_000_000)
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "limits are returned unchanged")]
    fn pace_is_even_and_catches_up_within_the_rate() {
        let even = at(0, Duration::ZERO);
        assert!((even - 1_000_000_000.0 / (10.0 * DAY.as_secs_f64())).abs() < 1e-6);
        assert!(at(500_000_000, 5 * DAY) - even < 1e-6);
        assert!(at(900_000_000, 5 * DAY) - even < 1e-6, "does not slow down when ahead");
        assert!(at(100_000_000, 5 * DAY) > 1.7 * even, "catches up after lost time");
        assert!(at(0, 20 * DAY) <= 1_000_000_000.0 / 3600.0, "does not rush when late");
        assert_eq!(pace(Work { total: u64::MAX, done: 0 }, DAY, 10 * DAY, 1_000_000), 1_000_000.0);
        assert_eq!(pace(Work { total: 0, done: 0 }, DAY, DAY, 1), 0.0);
    }

    #[test]
    fn waits_until_spent_work_is_paid_for() {
        let second = Duration::from_secs(1);
        let mut bucket = TokenBucket::new(Duration::ZERO, 50);
        assert_eq!(bucket.wait(Duration::ZERO, 100.0), Duration::ZERO);
        bucket.spend(500);
        assert_eq!(bucket.wait(Duration::ZERO, 100.0), 5 * second);
        assert_eq!(bucket.wait(3 * second, 100.0), 2 * second);
        assert_eq!(bucket.wait(5 * second, 100.0), Duration::ZERO);
        // A long pause saves up no more than a burst.
        assert_eq!(bucket.wait(5000 * second, 100.0), Duration::ZERO);
        bucket.spend(220);
        assert_eq!(bucket.wait(5000 * second, 100.0), second);
        assert_eq!(bucket.wait(5000 * second, 0.0), Duration::MAX);
    }
}
