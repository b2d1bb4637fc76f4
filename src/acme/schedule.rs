//! Decides when to renew a certificate, also by the time that the authority suggests, and when to retry after a
//! failure.

use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier, SuggestedWindow};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::authority_folder::StoredCertificate;
use crate::clock::{Timestamp, millis};
use crate::errors::BoxError;
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

/// The minimum time between two requests for a suggested renewal time.
const MIN_SUGGESTION_INTERVAL: Duration = Duration::from_secs(60);

/// The maximum time between two such requests. After a failed request the next one waits this long, because the
/// authority may not support ARI.
const MAX_SUGGESTION_INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);

/// When to request the next certificate: when a third of the current one's lifetime is left, or up to a thirtieth
/// earlier. The exact time is derived from the certificate, so that it differs between servers and survives restarts.
pub(super) fn renewal_time(stored: &StoredCertificate) -> Timestamp {
    let lifetime = stored.leaf.until.since(stored.leaf.from);
    stored.leaf.until.minus(lifetime / 3).minus(lifetime.mul_f64(fraction(stored) / 30.0))
}

/// A number from 0 to 1 that is derived from the certificate.
fn fraction(stored: &StoredCertificate) -> f64 {
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

/// The last renewal time that the authority suggested for a certificate (ARI, RFC 9773). It is earlier than usual if,
/// for example, the authority has to revoke many certificates.
#[derive(Debug, Default)]
pub(super) struct Suggestion {
    certificate: Option<CertificateDer<'static>>,
    renewal_time: Option<Timestamp>,
    next_request: Option<Instant>,
}

impl Suggestion {
    /// How long to wait before requesting the next suggestion for this certificate.
    pub(super) fn time_until_request(&self, stored: &StoredCertificate) -> Duration {
        let next_request = self.next_request.filter(|_| self.certificate.as_ref() == Some(&stored.der));
        next_request.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// The suggested renewal time of this certificate, if it is known.
    pub(super) fn renewal_time(&self, stored: &StoredCertificate) -> Option<Timestamp> {
        self.renewal_time.filter(|_| self.certificate.as_ref() == Some(&stored.der))
    }

    /// No suggestion for now; the next request is due after [`MAX_SUGGESTION_INTERVAL`].
    pub(super) fn none(stored: &StoredCertificate) -> Self {
        let next_request = Instant::now().checked_add(MAX_SUGGESTION_INTERVAL);
        Self { certificate: Some(stored.der.clone()), renewal_time: None, next_request }
    }

    /// Requests the suggestion from the authority.
    pub(super) async fn fetch(account: &Account, stored: &StoredCertificate) -> Result<Self, BoxError> {
        let identifier = CertificateIdentifier::try_from(&stored.der)?;
        let (info, retry_after) = account.renewal_info(&identifier).await?;
        let next_request =
            Instant::now().checked_add(retry_after.clamp(MIN_SUGGESTION_INTERVAL, MAX_SUGGESTION_INTERVAL));
        let renewal_time = point_in_window(&info.suggested_window, fraction(stored));
        Ok(Self { certificate: Some(stored.der.clone()), renewal_time: Some(renewal_time), next_request })
    }
}

/// The point in a window at this fraction of its length, from 0 to 1 (RFC 9773, 4.2).
fn point_in_window(window: &SuggestedWindow, fraction: f64) -> Timestamp {
    let at = |seconds: i64| Timestamp(seconds.saturating_mul(1000));
    let start = at(window.start.unix_timestamp());
    let end = at(window.end.unix_timestamp());
    Timestamp(start.0.saturating_add(millis(end.since(start).mul_f64(fraction))))
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn picks_point_in_window() {
        let start = rcgen::date_time_ymd(2026, 1, 1);
        let end = rcgen::date_time_ymd(2026, 1, 3);
        let at = |start, end, fraction| point_in_window(&SuggestedWindow { start, end }, fraction).rfc3339();
        assert_eq!(at(start, end, 0.0), "2026-01-01T00:00:00Z");
        assert_eq!(at(start, end, 0.5), "2026-01-02T00:00:00Z");
        assert_eq!(at(start, end, 1.0), "2026-01-03T00:00:00Z");
        assert_eq!(at(end, start, 1.0), "2026-01-03T00:00:00Z", "an inverted window yields its start");
    }
}
