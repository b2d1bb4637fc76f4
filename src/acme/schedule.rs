//! Decides when to renew a certificate and when to retry after a failure.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::authority_folder::StoredCertificate;
use crate::clock::Timestamp;
use crate::jobs::jittered;

/// The wait after the first failure. Each further failure waits four times as long: this makes five attempts in the
/// first hour, which is as many failures as the largest authority allows.
const FIRST_WAIT: Duration = Duration::from_secs(15);

/// The longest wait, unless the authority requests a longer one.
const MAX_WAIT: Duration = Duration::from_secs(4 * 60 * 60);

/// The longest wait that the authority can request.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest pause after a certificate was issued.
const MAX_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// When to request the next certificate: when a third of the current one's lifetime is left, or up to a thirtieth
/// earlier. The exact time is derived from the certificate, so that it differs between servers and survives restarts.
pub(super) fn renewal_time(stored: &StoredCertificate) -> Timestamp {
    let lifetime = stored.leaf.until.since(stored.leaf.from);
    stored.leaf.until.minus(lifetime / 3).minus(lifetime.mul_f64(fraction(stored) / 30.0))
}

/// A number from 0 to 1 that is derived from the certificate.
pub(super) fn fraction(stored: &StoredCertificate) -> f64 {
    f64::from(Sha256::digest(&stored.der)[0]) / 255.0
}

/// Limits how often certificates are requested.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    not_before: Option<Instant>,
}

impl Pace {
    /// How long to wait before the next request.
    pub(super) fn remaining(&self) -> Duration {
        self.not_before.map_or(Duration::ZERO, |then| then.saturating_duration_since(Instant::now()))
    }

    /// Records that a certificate with this lifetime was issued. The next one is not requested immediately, even if the
    /// wall clock is wrong.
    pub(super) fn record_success(&mut self, lifetime: Duration) {
        let pause = (lifetime / 3).min(MAX_PAUSE);
        *self = Self { failures: 0, not_before: Instant::now().checked_add(pause) };
    }

    /// Records a failed request, with the authority's `Retry-After` if there was one. Returns how long to wait.
    pub(super) fn record_failure(&mut self, retry_after: Option<Duration>) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << (2 * self.failures.min(10))).min(MAX_WAIT);
        let wait = jittered(wait).max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
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
    fn renews_when_about_a_third_of_lifetime_is_left() {
        for number in 0..100 {
            let from = Timestamp(1_000_000);
            let leaf = Leaf { names: Vec::new(), from, until: from.plus(90 * DAY) };
            let stored = StoredCertificate { der: CertificateDer::from(vec![number]), leaf };
            let due = renewal_time(&stored);
            assert!(due >= from.plus(57 * DAY) && due <= from.plus(60 * DAY), "{due:?}");
            assert_eq!(due, renewal_time(&stored), "always the same");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wait_grows_to_hours_after_repeated_failures() {
        let mut pace = Pace::default();
        assert_eq!(pace.remaining(), Duration::ZERO);
        let mut first_hour = 1;
        let mut passed = Duration::ZERO;
        for _ in 0..20 {
            let wait = pace.record_failure(None);
            assert_eq!(pace.remaining(), wait);
            passed += wait;
            first_hour += u32::from(passed < Duration::from_secs(60 * 60));
            tokio::time::advance(wait).await;
            assert_eq!(pace.remaining(), Duration::ZERO);
        }
        assert_eq!(first_hour, 5);
        let last = pace.record_failure(None);
        assert!(last > MAX_WAIT.mul_f64(0.89) && last < MAX_WAIT.mul_f64(1.11), "{last:?}");
        assert_eq!(pace.record_failure(Some(8 * MAX_WAIT)), MAX_RETRY_AFTER);
        pace.record_success(90 * DAY);
        assert_eq!(pace.remaining(), DAY);
        pace.record_success(Duration::from_secs(30));
        assert_eq!(pace.remaining(), Duration::from_secs(10));
        assert!(pace.record_failure(None) < 2 * FIRST_WAIT);
    }
}
