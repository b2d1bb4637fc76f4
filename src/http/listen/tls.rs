//! TLS by a certificate and a key in PEM files.

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
use crate::file_state::FileState;
use crate::text_file;

/// Why TLS cannot be spoken.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file could not be read, or holds no PEM of the right kind.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not fit each other, or cannot be used.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// Nobody's certificate could be judged by those of the authorities.
    #[error("{path}: {reason}", path = path.display())]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The files that a server's TLS is made of.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and those that lead to its root.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The certificates of authorities: then every client must show a certificate that one of them signed.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// How all of them are now.
    pub(super) fn states(&self) -> Vec<FileState> {
        let paths = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        paths.into_iter().flatten().map(|path| FileState::of(path)).collect()
    }

    /// A server's TLS, for HTTP/2 and HTTP/1.1, as the files have it now.
    pub(super) fn load(&self) -> Result<Loaded, TlsError> {
        let in_file = |path: &Path, reason| TlsError::File { path: path.to_owned(), reason };
        let chain = certificates(&self.certificate).map_err(|reason| in_file(&self.certificate, reason))?;
        let key = private_key(&self.key).map_err(|reason| in_file(&self.key, reason))?;
        let leaf = chain.first().and_then(Leaf::read);
        let mut config = self.begin()?.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded { config: Arc::new(config), leaf })
    }

    /// TLS that nobody can speak, for there is no certificate yet.
    pub(super) fn load_without_certificate(&self) -> Result<Loaded, TlsError> {
        let config = self.begin()?.with_cert_resolver(Arc::new(Nothing));
        Ok(Loaded { config: Arc::new(config), leaf: None })
    }

    /// TLS for the clients that may come in.
    fn begin(&self) -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients = match &self.client_ca {
            Some(path) => signed_by(path, &provider)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.with_client_cert_verifier(clients))
    }
}

/// A server's TLS, and its own certificate where that can be read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    pub(super) leaf: Option<Leaf>,
}

/// Has no certificate for anybody.
#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Lets in those clients whose certificate one of the authorities in a file has signed.
fn signed_by(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unfit = |reason| TlsError::Authorities { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for authority in certificates(path).map_err(unfit)? {
        roots.add(authority).map_err(|error| unfit(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    verifier.build().map_err(|error| unfit(error.to_string()))
}

/// The certificates in a file, or why there are none.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = text_file::read_bytes(path).map_err(|error| error.to_string())?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(|error| reason(&error))
}

/// The private key in a file.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = text_file::read_bytes(path).map_err(|error| error.to_string())?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| reason(&error))
}

fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "holds none in PEM".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_something_else_are_named() {
        let dir = tempfile::tempdir().expect("directory");
        let (cert, key, empty) = (dir.path().join("cert"), dir.path().join("key"), dir.path().join("empty"));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
        std::fs::write(&cert, made.cert.pem()).expect("writes");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("writes");
        std::fs::write(&empty, "").expect("writes");

        let load = |certificate: &Path, key: &Path| {
            let (certificate, key) = (certificate.to_owned(), key.to_owned());
            TlsFiles { certificate, key, client_ca: None }.load()
        };
        assert_eq!(load(&cert, &key).expect("fits").config.alpn_protocols.len(), 2);
        let marked = [&cert, &key].map(|path| {
            let (text, path) = (std::fs::read_to_string(path).expect("read"), path.with_extension("marked"));
            std::fs::write(&path, format!("\u{feff}{text}")).expect("writes");
            path
        });
        assert!(
            load(&marked[0], &marked[1]).expect("fits").leaf.is_some(),
            "a byte order mark is no part of PEM"
        );
        let message = |cert: &Path, key: &Path| load(cert, key).expect_err("wrong").to_string();
        assert!(message(&dir.path().join("gone"), &key).contains("gone"));
        assert!(message(&cert, &empty).contains("empty"));
        assert!(message(&empty, &key).contains("empty: holds none"));
        for (file, content, reason) in [
            ("gone", None, "gone: "),
            ("none", Some(""), "none: holds none"),
            ("odd", Some("-----BEGIN CERTIFICATE-----\nb2Rk\n-----END CERTIFICATE-----\n"), "odd: "),
        ] {
            let client_ca = dir.path().join(file);
            content.iter().for_each(|content| std::fs::write(&client_ca, content).expect("writes"));
            let files = TlsFiles { certificate: cert.clone(), key: key.clone(), client_ca: Some(client_ca) };
            let message = files.load().expect_err(file).to_string();
            assert!(message.contains(reason), "{message}");
        }
    }
}
