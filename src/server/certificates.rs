//! The server's TLS certificate: from files, or from a certificate authority (ACME).

use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use super::errors::StartError;
use crate::acme::{AcmeSettings, AuthorityFolder, CertificateRenewer, ExternalAccount};
use crate::clock::SystemClock;
use crate::config::{self, Config};
use crate::errors::Context;
use crate::http::listen::{Challenges, Tls, TlsFiles};
use crate::outbound;
use crate::text_file;

/// The TLS configuration and, with ACME, the client that renews the certificate.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// TLS for connections, if it is configured.
    pub(super) tls: Option<Arc<Tls>>,
    /// The ACME client, if ACME is configured.
    pub(super) acme: Option<Arc<CertificateRenewer>>,
}

impl Certificates {
    /// Reads the certificate files that the settings name.
    ///
    /// # Errors
    /// Fails if a file cannot be used or an ACME setting is invalid.
    pub(super) fn open(config: &Config) -> Result<Self, StartError> {
        let client_ca = config.server.tls_client_ca.clone();
        if config.acme.is_on() {
            return Self::from_authority(config, client_ca.as_deref());
        }
        let (Some(certificate), Some(key)) = (&config.server.tls_certificate, &config.server.tls_key) else {
            return Ok(Self::default());
        };
        let files = TlsFiles { certificate: certificate.clone(), key: key.clone(), client_ca };
        Ok(Self { tls: Some(Arc::new(Tls::open(files)?)), acme: None })
    }

    fn from_authority(config: &Config, client_ca: Option<&Path>) -> Result<Self, StartError> {
        let settings = acme_settings(&config.acme)?;
        let metadata_dir = config.metadata_dir();
        let ca_file = config.outbound.ca_file.as_deref();
        let client =
            outbound::client(ca_file).map_err(|error| StartError::setting("outbound.ca_file", error))?;
        let file = AuthorityFolder::of(&metadata_dir, &settings.directory).certificate_path();
        let files =
            TlsFiles { certificate: file.clone(), key: file, client_ca: client_ca.map(Path::to_owned) };
        let challenges = Arc::new(Challenges::default());
        let tls = Some(Arc::new(Tls::open_or_pending(files, Arc::clone(&challenges))?));
        let acme =
            CertificateRenewer::new(settings, &metadata_dir, client, challenges, Arc::new(SystemClock));
        Ok(Self { tls, acme: Some(Arc::new(acme)) })
    }
}

/// Checks that the certificate files can be read and that the ACME settings are valid.
///
/// # Errors
/// Fails if a file cannot be used or an ACME setting is invalid.
pub fn check_certificates(config: &Config) -> Result<(), StartError> {
    Certificates::open(config).map(drop)
}

fn acme_settings(acme: &config::Acme) -> Result<AcmeSettings, StartError> {
    let external_account = match (&acme.eab_key_id, &acme.eab_key_file) {
        (Some(id), Some(path)) => {
            let key = external_key(path).map_err(|error| {
                let what = format!("{} cannot be used", path.display());
                StartError::setting("acme.eab_key_file", Context::new(what, error))
            })?;
            Some(ExternalAccount { id: id.clone(), key })
        }
        _ => None,
    };
    Ok(AcmeSettings {
        names: acme.names.iter().map(ToString::to_string).collect(),
        directory: acme.directory.to_string(),
        email: acme.email.as_ref().map(ToString::to_string),
        external_account,
    })
}

/// Reads the external account key from a file. Authorities issue it in Base64 (RFC 8555, 7.3.4).
fn external_key(path: &Path) -> io::Result<Vec<u8>> {
    let text = text_file::read(path)?;
    // The error says nothing about the content, which is secret.
    let error = || io::Error::other("it does not hold a key in Base64 (URL-safe)");
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).map_err(|_| error())?;
    if key.is_empty() { Err(error()) } else { Ok(key) }
}

/// Exports the expiry time of the certificate.
#[derive(Debug)]
pub(super) struct CertificateMetrics(pub(super) Arc<Tls>);

impl Collector for CertificateMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(expires) = self.0.expires() else {
            return Ok(());
        };
        let gauge = ConstGauge::new(expires.0 / 1000);
        let encoder = encoder.encode_descriptor(
            "orlop_tls_certificate_expiry_timestamp_seconds",
            "Expiry time of the TLS certificate in use, in seconds since 1970",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        gauge.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn reads_key_and_never_shows_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("eab");
        for (text, key) in
            [("c2VjcmV0\n", &b"secret"[..]), ("-_-_", b"\xfb\xff\xbf"), ("c2VjcmV0MQ==", b"secret1")]
        {
            fs::write(&path, text).expect("written");
            assert_eq!(external_key(&path).expect(text), key);
        }
        for text in ["", "se cret", "secret!"] {
            fs::write(&path, text).expect("written");
            let error = external_key(&path).expect_err(text).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
