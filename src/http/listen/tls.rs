//! TLS: loads certificates and keys from PEM files, reloads them when they change, so that a renewed certificate is
//! used without a restart, and performs the handshakes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert, WantsServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, RootCertStore, ServerConfig};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::challenges::Challenges;
use super::sendfile::Socket;
use crate::clock::{Timestamp, millis};
use crate::errors::{BoxError, Chain};
use crate::file_state::FileState;
use crate::text_file;

/// How often the files are checked. A change is loaded once it is the same in two checks, because a renewal
/// writes the certificate and its key one after the other.
const CHECK_INTERVAL: Duration = Duration::from_millis(300);

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
    fn states(&self) -> Vec<FileState> {
        let paths = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        paths.into_iter().flatten().map(|path| FileState::of(path)).collect()
    }

    /// Loads the configuration, for HTTP/2 and HTTP/1.1, from the current files.
    fn load(&self) -> Result<Loaded, TlsError> {
        let in_file = |path: &Path, reason| TlsError::File { path: path.to_owned(), reason };
        let chain = certificates(&self.certificate).map_err(|reason| in_file(&self.certificate, reason))?;
        let key = private_key(&self.key).map_err(|reason| in_file(&self.key, reason))?;
        let leaf = chain.first().and_then(Leaf::read);
        let mut config = self.config_builder()?.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded { config: Arc::new(config), leaf })
    }

    /// Loads a configuration without a certificate, so that every handshake fails until there is one.
    fn load_without_certificate(&self) -> Result<Loaded, TlsError> {
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

/// A loaded configuration, and the server's own certificate if it can be parsed.
#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    leaf: Option<Leaf>,
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

/// A server's TLS configuration, as loaded last from its files.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Loaded>,
    seen: Mutex<FileStates>,
    /// The challenges of a certificate authority, if the files come from one.
    challenges: Option<Arc<Challenges>>,
}

/// The observed states of the files.
#[derive(Debug)]
struct FileStates {
    /// The states when they were loaded last.
    loaded: Vec<FileState>,
    /// The states at the last check.
    checked: Vec<FileState>,
}

impl Tls {
    /// Loads the files for the first time.
    ///
    /// # Errors
    /// Fails if a file is missing or cannot be used; the error names it.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let states = files.states();
        let loaded = files.load()?;
        Ok(Self::new(files, states, loaded, None))
    }

    /// Loads files that the ACME client writes and that may still be missing or invalid. Until they are valid, only
    /// handshakes of ACME challenges succeed.
    ///
    /// # Errors
    /// Fails if the file of client certificate authorities cannot be used.
    pub fn open_or_pending(files: TlsFiles, challenges: Arc<Challenges>) -> Result<Self, TlsError> {
        let states = files.states();
        let loaded = match files.load() {
            Err(TlsError::File { .. } | TlsError::Unusable(_)) => files.load_without_certificate()?,
            loaded => loaded?,
        };
        Ok(Self::new(files, states, loaded, Some(challenges)))
    }

    fn new(
        files: TlsFiles,
        states: Vec<FileState>,
        loaded: Loaded,
        challenges: Option<Arc<Challenges>>,
    ) -> Self {
        let seen = Mutex::new(FileStates { loaded: states.clone(), checked: states });
        Self { files, current: RwLock::new(loaded), seen, challenges }
    }

    /// The expiry of the certificate, if there is one that can be parsed.
    pub fn expires(&self) -> Option<Timestamp> {
        let current = self.current.read();
        current.leaf.as_ref().map(|leaf| leaf.until)
    }

    /// The configuration for new connections. Each load has its own session cache, so no session from earlier
    /// files is resumed.
    fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().config)
    }

    /// Watches the files for ever. If new files cannot be used, the last configuration stays in use, so that
    /// a faulty renewal does not interrupt the service.
    pub(super) async fn watch_files(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            let this = Arc::clone(self);
            // The hook logs a panic, and the next check follows anyway.
            let _ = tokio::task::spawn_blocking(move || this.check_files()).await;
        }
    }

    /// Checks the files, and loads them if they differ from the last load.
    fn check_files(&self) {
        let now = self.files.states();
        let mut seen = self.seen.lock();
        if now != seen.loaded && now == seen.checked {
            seen.loaded.clone_from(&now);
            self.reload();
        }
        seen.checked = now;
    }

    fn reload(&self) {
        let path = self.files.certificate.display();
        match self.files.load() {
            Ok(loaded) => {
                *self.current.write() = loaded;
                tracing::info!(%path, "certificate reloaded for new connections");
            }
            Err(error) => {
                let error = Chain(&error);
                tracing::error!(%path, %error, "reloading the certificate failed; keeping the current one");
            }
        }
    }
}

/// Performs the handshake. Returns `None` if the connection was only an ACME challenge
/// (TLS-ALPN-01), which is answered and closed.
pub(super) async fn accept<S: Socket>(tls: &Tls, io: S) -> io::Result<Option<TlsStream<S>>> {
    let Some(challenges) = tls.challenges.as_deref().filter(|challenges| !challenges.is_idle()) else {
        return TlsAcceptor::from(tls.current()).accept(io).await.map(Some);
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
    let Some(config) = challenges.for_client(&start.client_hello()) else {
        return start.into_stream(tls.current()).await.map(Some);
    };
    let mut stream = start.into_stream(config).await?;
    stream.shutdown().await?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

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
