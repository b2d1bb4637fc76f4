//! When the authority itself wants a certificate to be renewed (ARI, RFC 9773): earlier than usual where it has to revoke
//! many.

use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier, SuggestedWindow};
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use super::kept::KeptCertificate;
use super::pace::share;
use crate::clock::{Timestamp, millis};

/// How often it is asked at most,
const MOST_OFTEN: Duration = Duration::from_secs(60);

/// and at least; also after it gave no answer, which not every authority has.
const LEAST_OFTEN: Duration = Duration::from_secs(6 * 60 * 60);

/// What the authority said of a certificate.
#[derive(Debug, Default)]
pub(super) struct Suggestion {
    of: Option<CertificateDer<'static>>,
    renewal: Option<Timestamp>,
    ask_at: Option<Instant>,
}

impl Suggestion {
    /// How long it is too early to ask again.
    pub(super) fn rest(&self, kept: &KeptCertificate) -> Duration {
        let asked = self.ask_at.filter(|_| self.of.as_ref() == Some(&kept.der));
        asked.map_or(Duration::ZERO, |then| then.saturating_duration_since(Instant::now()))
    }

    /// When it wants this certificate to be renewed, as far as it said.
    pub(super) fn renewal(&self, kept: &KeptCertificate) -> Option<Timestamp> {
        self.renewal.filter(|_| self.of.as_ref() == Some(&kept.der))
    }

    /// Remembers that nothing was learnt, until it is time to ask again.
    pub(super) fn unknown(kept: &KeptCertificate) -> Self {
        Self { of: Some(kept.der.clone()), renewal: None, ask_at: Instant::now().checked_add(LEAST_OFTEN) }
    }

    /// Asks the authority.
    pub(super) async fn ask(account: &Account, kept: &KeptCertificate) -> Result<Self, String> {
        let identifier = CertificateIdentifier::try_from(&kept.der)?;
        let told = account.renewal_info(&identifier).await.map_err(|error| error.to_string())?;
        let (info, wait) = told;
        let ask_at = Instant::now().checked_add(wait.clamp(MOST_OFTEN, LEAST_OFTEN));
        let renewal = within(&info.suggested_window, share(kept));
        Ok(Self { of: Some(kept.der.clone()), renewal: Some(renewal), ask_at })
    }
}

/// The point of a window that is a certificate's own (RFC 9773, 4.2).
fn within(window: &SuggestedWindow, share: f64) -> Timestamp {
    let at = |seconds: i64| Timestamp(seconds.saturating_mul(1000));
    let (start, end) = (at(window.start.unix_timestamp()), at(window.end.unix_timestamp()));
    Timestamp(start.0.saturating_add(millis(end.since(start).mul_f64(share))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_have_their_points_in_a_window() {
        let (start, end) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2026, 1, 3));
        let at = |start, end, share| within(&SuggestedWindow { start, end }, share).rfc3339();
        assert_eq!(at(start, end, 0.0), "2026-01-01T00:00:00Z");
        assert_eq!(at(start, end, 0.5), "2026-01-02T00:00:00Z");
        assert_eq!(at(start, end, 1.0), "2026-01-03T00:00:00Z");
        assert_eq!(at(end, start, 1.0), "2026-01-03T00:00:00Z", "one that is none begins all the same");
    }
}
