//! The renewal time that the authority suggests (ARI, RFC 9773). It is earlier than usual if, for
//! example, the authority has to revoke many certificates.

use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier, SuggestedWindow};
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use super::authority_folder::StoredCertificate;
use super::schedule::fraction;
use crate::clock::{Timestamp, millis};
use crate::errors::BoxError;

/// The minimum time between two requests for a suggestion.
const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// The maximum time between two requests. After a failed request the next one waits this long, because the authority
/// may not support ARI.
const MAX_INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);

/// The last suggestion for a certificate.
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

    /// No suggestion for now; the next request is due after [`MAX_INTERVAL`].
    pub(super) fn none(stored: &StoredCertificate) -> Self {
        let next_request = Instant::now().checked_add(MAX_INTERVAL);
        Self { certificate: Some(stored.der.clone()), renewal_time: None, next_request }
    }

    /// Requests the suggestion from the authority.
    pub(super) async fn fetch(account: &Account, stored: &StoredCertificate) -> Result<Self, BoxError> {
        let identifier = CertificateIdentifier::try_from(&stored.der)?;
        let (info, retry_after) = account.renewal_info(&identifier).await?;
        let next_request = Instant::now().checked_add(retry_after.clamp(MIN_INTERVAL, MAX_INTERVAL));
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
