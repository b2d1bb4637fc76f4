//! When to ask, and when to ask again.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::kept::KeptCertificate;
use crate::clock::Timestamp;
use crate::jobs::jittered;

/// The wait after the first failure. Each further one waits four times as long: five attempts in the first hour, which
/// is as often as the largest authority lets somebody fail.
const FIRST_WAIT: Duration = Duration::from_secs(15);

/// The longest wait, unless the authority asks for a longer one
const LONGEST_WAIT: Duration = Duration::from_secs(4 * 60 * 60);

/// which is believed up to here.
const LONGEST_ADVICE: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest rest after a certificate was given.
const LONGEST_REST: Duration = Duration::from_secs(24 * 60 * 60);

/// When to ask for the next certificate: when a third of this one's life is left, and up to a thirtieth earlier. How
/// much is the certificate's own, so that many servers do not ask at once, and one keeps to it through restarts.
pub(super) fn renewal(kept: &KeptCertificate) -> Timestamp {
    let life = kept.leaf.until.since(kept.leaf.from);
    kept.leaf.until.minus(life / 3).minus(life.mul_f64(share(kept) / 30.0))
}

/// A number from 0 to 1 that is a certificate's own.
pub(super) fn share(kept: &KeptCertificate) -> f64 {
    f64::from(Sha256::digest(&kept.der)[0]) / 255.0
}

/// Keeps the authority from being asked too often.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    not_before: Option<Instant>,
}

impl Pace {
    /// How long it is too early to ask.
    pub(super) fn rest(&self) -> Duration {
        self.not_before.map_or(Duration::ZERO, |then| then.saturating_duration_since(Instant::now()))
    }

    /// A certificate of this life was given. Whatever a wrong clock says, the next is not asked for at once.
    pub(super) fn succeeded(&mut self, life: Duration) {
        let rest = (life / 3).min(LONGEST_REST);
        *self = Self { failures: 0, not_before: Instant::now().checked_add(rest) };
    }

    /// None was given, and the authority may have said when to come back. For how long not to ask.
    pub(super) fn failed(&mut self, advice: Option<Duration>) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << (2 * self.failures.min(10))).min(LONGEST_WAIT);
        let wait = jittered(wait).max(advice.unwrap_or_default().min(LONGEST_ADVICE));
        self.failures = self.failures.saturating_add(1);
        self.not_before = Instant::now().checked_add(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;

    use super::*;
    use crate::http::listen::Leaf;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_third_of_the_life_is_left_and_not_much_more() {
        for number in 0..100 {
            let from = Timestamp(1_000_000);
            let leaf = Leaf { names: Vec::new(), from, until: from.plus(90 * DAY) };
            let kept = KeptCertificate { der: CertificateDer::from(vec![number]), leaf };
            let due = renewal(&kept);
            assert!(due >= from.plus(57 * DAY) && due <= from.plus(60 * DAY), "{due:?}");
            assert_eq!(due, renewal(&kept), "always the same");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_for_hours_in_the_end() {
        let mut pace = Pace::default();
        assert_eq!(pace.rest(), Duration::ZERO);
        let mut first_hour = 1;
        let mut passed = Duration::ZERO;
        for _ in 0..20 {
            let wait = pace.failed(None);
            assert_eq!(pace.rest(), wait);
            passed += wait;
            first_hour += u32::from(passed < Duration::from_secs(60 * 60));
            tokio::time::advance(wait).await;
            assert_eq!(pace.rest(), Duration::ZERO);
        }
        assert_eq!(first_hour, 5);
        let last = pace.failed(None);
        assert!(last > LONGEST_WAIT.mul_f64(0.89) && last < LONGEST_WAIT.mul_f64(1.11), "{last:?}");
        assert_eq!(pace.failed(Some(8 * LONGEST_WAIT)), LONGEST_ADVICE);
        pace.succeeded(90 * DAY);
        assert_eq!(pace.rest(), DAY);
        pace.succeeded(Duration::from_secs(30));
        assert_eq!(pace.rest(), Duration::from_secs(10));
        assert!(pace.failed(None) < 2 * FIRST_WAIT);
    }
}
