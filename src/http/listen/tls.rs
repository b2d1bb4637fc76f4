//! Loads TLS certificates and keys from PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WantsServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, RootCertStore, ServerConfig};
use thiserror::Error;

use super::leaf::Leaf;
use crate::errors::BoxError;
use crate::file_state::FileState;
use crate::text_file;

/// An error in loading TLS files.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file could not be read, or contains no PEM of the right kind.
    #[error("{path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        reason: BoxError,
    },
    /// The certificate and the key do not match or cannot be used.
    #[error("the certificate and the key cannot be used")]
    Unusable(#[from] rustls::Error),
    /// The certificates of the client authorities cannot be used.
    #[error("{path}", path = path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        reason: BoxError,
    },
}

/// The files of a server's TLS configuration.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and its chain up to the root.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The certificates of the client authorities. If set, each client must present a certificate that one of
    /// them signed.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// The current states of the files.
    pub(super) fn states(&self) -> Vec<FileState> {
        let paths = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        paths.into_iter().flatten().map(|path| FileState::of(path)).collect()
    }

    /// Loads the configuration, for HTTP/2 and HTTP/1.1, from the current files.
    pub(super) fn load(&self) -> Result<Loaded, TlsError> {
        let in_file = |path: &Path, reason| TlsError::File { path: path.to_owned(), reason };
        let chain = certificates(&self.certificate).map_err(|reason| in_file(&self.certificate, reason))?;
        let key = private_key(&self.key).map_err(|reason| in_file(&self.key, reason))?;
        let leaf = chain.first().and_then(Leaf::read);
        let mut config = self.config_builder()?.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded { config: Arc::new(config), leaf })
    }

    /// Loads a configuration without a certificate, so that every handshake fails until there is one.
    pub(super) fn load_without_certificate(&self) -> Result<Loaded, TlsError> {
        let config = self.config_builder()?.with_cert_resolver(Arc::new(NoCertificate));
        Ok(Loaded { config: Arc::new(config), leaf: None })
    }

    /// Builds the configuration up to the server's certificate, with the verification of clients.
    fn config_builder(&self) -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = match &self.client_ca {
            Some(path) => client_verifier(path, &provider)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.with_client_cert_verifier(clients))
    }
}

/// A loaded configuration, and the server's own certificate if it can be parsed.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    pub(super) leaf: Option<Leaf>,
}

/// A resolver without any certificate.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Builds a verifier that accepts clients with a certificate signed by one of the authorities in a file.
fn client_verifier(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unfit = |reason| TlsError::Authorities { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for authority in certificates(path).map_err(unfit)? {
        roots.add(authority).map_err(|error| unfit(error.into()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    verifier.build().map_err(|error| unfit(error.into()))
}

/// Reads the certificates in a file. A file without any is an error.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    let pem = text_file::read_bytes(path)?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(reason)
}

/// Reads the private key in a file.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, BoxError> {
    let pem = text_file::read_bytes(path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(reason)
}

fn reason(error: pem::Error) -> BoxError {
    match error {
        pem::Error::NoItemsFound => "contains none in PEM format".into(),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Chain;

    #[test]
    fn errors_name_the_invalid_file() {
        let dir = tempfile::tempdir().expect("directory");
        let cert = dir.path().join("cert");
        let key = dir.path().join("key");
        let empty = dir.path().join("empty");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
        std::fs::write(&cert, made.cert.pem()).expect("writes");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("writes");
        std::fs::write(&empty, "").expect("writes");

        let load = |certificate: &Path, key: &Path| {
            TlsFiles { certificate: certificate.to_owned(), key: key.to_owned(), client_ca: None }.load()
        };
        assert_eq!(load(&cert, &key).expect("matches").config.alpn_protocols.len(), 2);
        let marked = [&cert, &key].map(|path| {
            let text = std::fs::read_to_string(path).expect("read");
            let path = path.with_extension("marked");
            std::fs::write(&path, format!("\u{feff}{text}")).expect("writes");
            path
        });
        assert!(
            load(&marked[0], &marked[1]).expect("matches").leaf.is_some(),
            "a byte order mark is ignored"
        );
        let message = |cert: &Path, key: &Path| Chain(&load(cert, key).expect_err("invalid")).to_string();
        assert!(message(&dir.path().join("gone"), &key).contains("gone"));
        assert!(message(&cert, &empty).contains("empty"));
        assert!(message(&empty, &key).contains("empty: contains none"));
        for (file, content, reason) in [
            ("gone", None, "gone: "),
            ("none", Some(""), "none: contains none"),
            ("odd", Some("-----BEGIN CERTIFICATE-----\nb2Rk\n-----END CERTIFICATE-----\n"), "odd: "),
        ] {
            let client_ca = dir.path().join(file);
            content.iter().for_each(|content| std::fs::write(&client_ca, content).expect("writes"));
            let files = TlsFiles { certificate: cert.clone(), key: key.clone(), client_ca: Some(client_ca) };
            let message = Chain(&files.load().expect_err(file)).to_string();
            assert!(message.contains(reason), "{message}");
        }
    }
}
