//! What a certificate says of itself.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::clock::{Timestamp, millis};

/// A server's own certificate, the first of its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The DNS names that it is for, in small letters and in order (RFC 5280, 4.2.1.6).
    pub names: Vec<String>,
    /// From when on it is good,
    pub from: Timestamp,
    /// and until when.
    pub until: Timestamp,
}

impl Leaf {
    /// What `certificate` says, if it can be read.
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
        let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Some(Self { names, from: at(from), until: at(until) })
    }
}

/// A time that is told in seconds.
fn at(seconds: i64) -> Timestamp {
    let since = std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Timestamp(millis(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_times_are_read() {
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
