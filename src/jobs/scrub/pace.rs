//! How fast the scrub may read.

use std::time::Duration;

/// How much may be saved up while nothing was read, in seconds' worth, where that is more than one bite.
const BURST: f64 = 1.2;

/// Before the end of a period what is left is not hurried into less than this.
const LAST: Duration = Duration::from_secs(60 * 60);

/// The work of a pass: bytes, and something for each file that is opened and row that is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// In all.
    pub(super) total: u64,
    /// What is done of it.
    pub(super) done: u64,
}

/// How much to do a second, so that a pass that began `since` ago ends with its `period`: evenly, and faster
/// where time was lost or the store grew; never faster than `rate`.
pub(super) fn pace(work: Work, since: Duration, period: Duration, rate: u64) -> f64 {
    let left = period.saturating_sub(since).max(LAST.min(period));
    let even = work.total as f64 / period.as_secs_f64();
    let due = work.total.saturating_sub(work.done) as f64 / left.as_secs_f64();
    even.max(due).min(rate as f64)
}

/// A token bucket that may go into debt: what is to be read is read in one go, and paid for afterwards.
#[derive(Debug)]
pub(super) struct Allowance {
    balance: f64,
    bite: f64,
    at: Duration,
}

impl Allowance {
    /// For whoever reads `bite` at once. Nothing is saved up, and nothing is owed.
    pub(super) fn new(now: Duration, bite: u64) -> Self {
        Self { balance: 0.0, bite: bite as f64, at: now }
    }

    /// Fills it as of `now` and tells how long it takes until something may be read.
    pub(super) fn wait(&mut self, now: Duration, pace: f64) -> Duration {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.balance = (self.balance + passed * pace).min((pace * BURST).max(self.bite));
        if self.balance >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.balance / pace).unwrap_or(Duration::MAX)
    }

    /// Takes `work` out of it.
    pub(super) fn spend(&mut self, work: u64) {
        self.balance -= work as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(done: u64, since: Duration) -> f64 {
        pace(Work { total: 1_000_000_000, done }, since, 10 * DAY, 1_000_000)
    }

    #[test]
    fn the_pace_is_even_and_catches_up_within_the_rate() {
        let even = at(0, Duration::ZERO);
        assert!((even - 1_000_000_000.0 / (10.0 * DAY.as_secs_f64())).abs() < 1e-6);
        assert!(at(500_000_000, 5 * DAY) - even < 1e-6);
        assert!(at(900_000_000, 5 * DAY) - even < 1e-6, "nothing is put off");
        assert!(at(100_000_000, 5 * DAY) > 1.7 * even, "time was lost");
        assert!(at(0, 20 * DAY) <= 1_000_000_000.0 / 3600.0, "what is late is not hurried");
        assert_eq!(pace(Work { total: u64::MAX, done: 0 }, DAY, 10 * DAY, 1_000_000), 1_000_000.0);
        assert_eq!(pace(Work { total: 0, done: 0 }, DAY, DAY, 1), 0.0);
    }

    #[test]
    fn what_was_spent_is_waited_for() {
        let second = Duration::from_secs(1);
        let mut allowance = Allowance::new(Duration::ZERO, 50);
        assert_eq!(allowance.wait(Duration::ZERO, 100.0), Duration::ZERO);
        allowance.spend(500);
        assert_eq!(allowance.wait(Duration::ZERO, 100.0), 5 * second);
        assert_eq!(allowance.wait(3 * second, 100.0), 2 * second);
        assert_eq!(allowance.wait(5 * second, 100.0), Duration::ZERO);
        // A long rest saves up no more than a burst.
        assert_eq!(allowance.wait(5000 * second, 100.0), Duration::ZERO);
        allowance.spend(220);
        assert_eq!(allowance.wait(5000 * second, 100.0), second);
        assert_eq!(allowance.wait(5000 * second, 0.0), Duration::MAX);
    }
}
