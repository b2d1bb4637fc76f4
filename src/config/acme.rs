//! `[acme]`: a certificate from a certificate authority by ACME.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::text::{Text, display_inner, text_serde};

text_serde!(DnsName, Directory, Email);
display_inner!(DnsName, Directory, Email);

/// Settings of the ACME client (RFC 8555).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    /// DNS names of the certificate. Setting them turns TLS on.
    pub names: Vec<DnsName>,
    /// Whether the operator agrees to the authority's terms of service.
    pub accept_terms: bool,
    /// Contact address for the authority.
    pub email: Option<Email>,
    /// URL of the authority's ACME directory.
    pub directory: Directory,
    /// Key id of an existing account with the authority (external account binding).
    pub eab_key_id: Option<String>,
    /// File with that account's key.
    pub eab_key_file: Option<PathBuf>,
}

impl Acme {
    /// Whether ACME is configured.
    pub fn is_on(&self) -> bool {
        !self.names.is_empty()
    }

    /// Returns a key that is set but has no effect, because ACME is off.
    pub(super) fn idle_key(&self) -> Option<&'static str> {
        let defaults = Self::default();
        let chosen = [
            ("acme.accept_terms", self.accept_terms),
            ("acme.email", self.email.is_some()),
            ("acme.directory", self.directory != defaults.directory),
            ("acme.eab_key_id", self.eab_key_id.is_some()),
        ];
        chosen.into_iter().find(|(_, chosen)| *chosen && !self.is_on()).map(|(key, _)| key)
    }
}

/// A DNS name of a certificate, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsName(String);

impl Text for DnsName {
    const EXPECTED: &'static str = "a DNS name, such as \"registry.example.com\": IP addresses and wildcards \
                                    cannot be proved with TLS-ALPN-01";

    fn parse(text: &str) -> Option<Self> {
        let sound = |label: &str| {
            let of = |c: char| c.is_ascii_alphanumeric() || c == '-';
            (1..=63).contains(&label.len()) && label.chars().all(of) && !label.starts_with('-')
        };
        let is_address = text.parse::<IpAddr>().is_ok();
        let is_name = text.len() <= 253 && text.split('.').all(|label| sound(label) && !label.ends_with('-'));
        (is_name && !is_address).then(|| Self(text.to_ascii_lowercase()))
    }
}

/// URL of an ACME directory (RFC 8555, 7.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory(String);

impl Default for Directory {
    fn default() -> Self {
        Self("https://acme-v02.api.letsencrypt.org/directory".into())
    }
}

impl Text for Directory {
    const EXPECTED: &'static str = "the https URL of an ACME directory, of at most 80 characters, such as \
                                    \"https://acme-v02.api.letsencrypt.org/directory\"";

    fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let host = uri.host().is_some_and(|host| !host.is_empty());
        let plain = text.len() <= 80 && !text.contains(['#', '@']);
        (uri.scheme_str() == Some("https") && host && plain).then(|| Self(text.to_owned()))
    }
}

/// An e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

impl Text for Email {
    const EXPECTED: &'static str = "one e-mail address, such as \"ops@example.com\"";

    fn parse(text: &str) -> Option<Self> {
        // RFC 8555, 7.3: one address, without the fields of mailto links.
        let plain =
            !text.contains([',', '?', '&', ':', ';', '<', '>']) && text.chars().all(|c| c.is_ascii_graphic());
        let (name, host) = text.split_once('@')?;
        (plain && !name.is_empty() && !host.contains('@') && DnsName::parse(host).is_some())
            .then(|| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_provable_dns_names() {
        let name = |text| DnsName::parse(text).map(|name| name.0);
        assert_eq!(name("Registry.Example.com").as_deref(), Some("registry.example.com"));
        for fine in ["registry", "xn--bcher-kva.example", "a-b.c", "1.example"] {
            assert!(name(fine).is_some(), "{fine}");
        }
        let long = "a".repeat(64);
        for wrong in
            ["", "*.example.com", "10.0.0.1", "::1", "a..b", "a.b.", "-a.b", "a_b.c", "bücher.de", &long]
        {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn directory_requires_https() {
        assert!(Directory::parse(&Directory::default().0).is_some());
        assert!(Directory::parse("https://ca.lan:9000/acme/acme/directory").is_some());
        for wrong in ["", "http://ca.lan/directory", "ca.lan", "https://", "https://me:pw@ca.lan/directory"] {
            assert_eq!(Directory::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn accepts_a_single_email_address() {
        assert!(Email::parse("ops+tls@example.com").is_some());
        for wrong in
            ["", "ops", "@example.com", "a@b@c", "a@b.c,d@e.f", "a@b.c?cc=d", "mailto:a@b.c", "a b@c.d"]
        {
            assert_eq!(Email::parse(wrong), None, "{wrong}");
        }
    }
}
