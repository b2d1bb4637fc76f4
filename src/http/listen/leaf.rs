//! Parses the names and the validity of a certificate.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::clock::{Timestamp, millis};

/// The server's own certificate, the first of its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its DNS names, in lower case and sorted (RFC 5280, 4.2.1.6).
    pub names: Vec<String>,
    /// The start of its validity.
    pub from: Timestamp,
    /// The end of its validity.
    pub until: Timestamp,
}

impl Leaf {
    /// Parses `certificate`; `None` if that fails.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(certificate).ok()?;
        let named = certificate.subject_alternative_name().ok()?;
        let named = named.iter().flat_map(|extension| &extension.value.general_names);
        let dns = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        let mut names: Vec<_> = named.filter_map(dns).collect();
        names.sort();
        names.dedup();
        let validity = certificate.validity();
        let from = timestamp(validity.not_before.timestamp());
        let until = timestamp(validity.not_after.timestamp());
        Some(Self { names, from, until })
    }
}

/// Converts seconds since the Unix epoch.
fn timestamp(seconds: i64) -> Timestamp {
    let since = std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Timestamp(millis(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_names_and_validity() {
        let names = ["b.example", "A.example", "10.0.0.1"].map(str::to_owned);
        let mut params = rcgen::CertificateParams::new(names).expect("parameters");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let made = params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("signed");
        let leaf = Leaf::read(made.der()).expect("read");
        assert_eq!(leaf.names, ["a.example", "b.example"]);
        assert_eq!(leaf.from.rfc3339(), "2026-01-01T00:00:00Z");
        assert_eq!(leaf.until.rfc3339(), "2026-04-01T00:00:00Z");
        assert_eq!(Leaf::read(&CertificateDer::from_slice(b"odd")), None);
    }
}
