//! TLS by a certificate and a key in PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

use crate::file_state::FileState;

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
}

/// The files that a server's TLS is made of.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and those that lead to its root.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// How all of them are now.
    pub(super) fn states(&self) -> Vec<FileState> {
        [&self.certificate, &self.key].map(|path| FileState::of(path)).into()
    }

    /// A server's TLS, for HTTP/2 and HTTP/1.1, as the files have it now.
    pub(super) fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| in_file(&self.key, &error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(|error| in_file(path, &error))
}

fn in_file(path: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::NoItemsFound => "holds none in PEM".to_owned(),
        error => error.to_string(),
    };
    TlsError::File { path: path.to_owned(), reason }
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
            TlsFiles { certificate: certificate.to_owned(), key: key.to_owned() }.load()
        };
        assert_eq!(load(&cert, &key).expect("fits").alpn_protocols.len(), 2);
        let message = |cert: &Path, key: &Path| load(cert, key).expect_err("wrong").to_string();
        assert!(message(&dir.path().join("gone"), &key).contains("gone"));
        assert!(message(&cert, &empty).contains("empty"));
        assert!(message(&empty, &key).contains("empty: holds none"));
    }
}
