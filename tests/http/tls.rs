//! Tests of TLS, which Docker requires for every host except localhost.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use orlop::http::listen::{Tls, TlsFiles};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Version};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;

use crate::kit::*;

/// A certificate for `localhost` and its key, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn write(&self, folder: &Path) {
        fs::write(folder.join("tls.crt"), &self.certificate).expect("written");
        fs::write(folder.join("tls.key"), &self.key).expect("written");
    }

    /// A client that trusts this certificate alone.
    fn client(&self, server: &Server) -> ClientBuilder {
        let root = Certificate::from_pem(self.certificate.as_bytes()).expect("certificate");
        Client::builder().tls_certs_only([root]).resolve("localhost", server.address)
    }

    /// A TLS connection for HTTP/1, without an HTTP client.
    pub async fn connect(&self, server: &Server) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("certificate");
        roots.add(certificate).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(name, server.connect().await).await.expect("a handshake")
    }

    /// Whether the server uses this certificate for a new connection.
    pub async fn is_used_by(&self, server: &Server) -> bool {
        let client = self.client(server).build().expect("client");
        client.get(url(server, "/v2/")).send().await.is_ok_and(|answer| answer.status() == 200)
    }

    /// Waits until the server uses this certificate for new connections.
    pub async fn wait_until_used_by(&self, server: &Server) {
        let shown = async {
            while !self.is_used_by(server).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // The server promises a second, but the machine that runs the test may be busy.
        tokio::time::timeout(Duration::from_secs(5), shown).await.expect("the new certificate");
    }
}

fn url(server: &Server, path: &str) -> String {
    format!("https://localhost:{}{path}", server.address.port())
}

fn files(folder: &Path) -> TlsFiles {
    TlsFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key"), client_ca: None }
}

async fn serve(files: TlsFiles) -> Server {
    let tls = Tls::open(files).expect("usable");
    Server::with(|setup| {
        setup.listen.tls = Some(Arc::new(tls));
        setup.files = true;
    })
    .await
}

/// A server with this certificate, and the folder that contains it.
pub async fn tls_server(pair: &Pair, change: impl FnOnce(&mut Setup)) -> (Server, TempDir) {
    let dir = TempDir::new().expect("folder");
    pair.write(dir.path());
    let tls = Tls::open(files(dir.path())).expect("usable");
    let server = Server::with(|setup| {
        setup.listen.tls = Some(Arc::new(tls));
        change(setup);
    });
    (server.await, dir)
}

#[tokio::test]
async fn serves_http1_and_http2_over_tls() {
    let dir = TempDir::new().expect("folder");
    let pair = Pair::new();
    pair.write(dir.path());
    let server = serve(files(dir.path())).await;
    let base = url(&server, "/v2/");
    let versions =
        [(pair.client(&server), Version::HTTP_2), (pair.client(&server).http1_only(), Version::HTTP_11)];
    for (client, version) in versions {
        let client = client.build().expect("client");
        let answer = client.get(&base).send().await.expect("answer");
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        let content = vec![7; 2 * 1024 * 1024];
        let post = client.post(format!("{base}a/blobs/uploads/?digest={}", digest(&content)));
        assert_eq!(post.body(content.clone()).send().await.expect("answer").status(), 201);
        let got = client.get(format!("{base}a/blobs/{}", digest(&content))).send().await.expect("answer");
        assert!(got.bytes().await.expect("body") == content);
    }
    // Plain HTTP on this port fails and does no harm.
    assert!(server.get("/v2/").send().await.is_err());
    assert!(pair.is_used_by(&server).await);
}

/// A request in progress when the certificate changes is completed.
#[tokio::test]
async fn a_new_certificate_applies_to_new_connections() {
    let dir = TempDir::new().expect("folder");
    let old = Pair::new();
    let new = Pair::new();
    old.write(dir.path());
    let server = serve(files(dir.path())).await;
    let client = old.client(&server).build().expect("client");
    let content = vec![7; 16 * 1024 * 1024];
    let blob = digest(&content);
    let post = client.post(url(&server, &format!("/v2/a/blobs/uploads/?digest={blob}")));
    assert_eq!(post.body(content.clone()).send().await.expect("answer").status(), 201);
    let get = client.get(url(&server, &format!("/v2/a/blobs/{blob}")));
    let mut pieces = get.send().await.expect("answer").bytes_stream();
    let mut got = pieces.next().await.expect("a piece").expect("read").to_vec();

    new.write(dir.path());
    new.wait_until_used_by(&server).await;
    assert!(!old.is_used_by(&server).await);
    while let Some(piece) = pieces.next().await {
        got.extend_from_slice(&piece.expect("read"));
    }
    assert!(got == content);
    // The same connection still takes requests.
    assert_eq!(client.get(url(&server, "/v2/")).send().await.expect("answer").status(), 200);
}

#[tokio::test]
async fn invalid_files_keep_the_old_certificate() {
    let dir = TempDir::new().expect("folder");
    let old = Pair::new();
    let new = Pair::new();
    old.write(dir.path());
    let server = serve(files(dir.path())).await;
    let certificate = dir.path().join("tls.crt");
    let key = dir.path().join("tls.key");
    let half = &new.certificate[..new.certificate.len() / 2];
    let mistakes: [&dyn Fn(); 4] = [
        &|| fs::write(&certificate, half).expect("written"),
        // A certificate and a key that do not match.
        &|| fs::write(&certificate, &new.certificate).expect("written"),
        &|| fs::write(&key, "").expect("written"),
        &|| fs::remove_file(&key).expect("removed"),
    ];
    for make_mistake in mistakes {
        make_mistake();
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert!(old.is_used_by(&server).await);
    }
    new.write(dir.path());
    new.wait_until_used_by(&server).await;
}

/// Kubernetes writes each version of a secret to its own folder and switches a symbolic link to it.
#[tokio::test]
async fn detects_a_switched_symbolic_link() {
    let dir = TempDir::new().expect("folder");
    let old = Pair::new();
    let new = Pair::new();
    let version = |name: &str, pair: &Pair| -> PathBuf {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).expect("made");
        pair.write(&folder);
        symlink(name, dir.path().join("..next")).expect("linked");
        fs::rename(dir.path().join("..next"), dir.path().join("..data")).expect("swapped");
        folder
    };
    let first = version("..1", &old);
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), dir.path().join(name)).expect("linked");
    }
    let server = serve(files(dir.path())).await;
    assert!(old.is_used_by(&server).await);
    version("..2", &new);
    fs::remove_dir_all(first).expect("removed");
    new.wait_until_used_by(&server).await;
}

/// A certificate authority, which signs client certificates.
pub struct Authority {
    pub certificate: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed").pem();
        Self { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    /// A client certificate and its key, valid until the start of a year.
    fn identity(&self, until: i32) -> Identity {
        let mut params = rcgen::CertificateParams::new(vec!["client".to_owned()]).expect("parameters");
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Identity::from_pem((certificate + &key.serialize_pem()).as_bytes()).expect("an identity")
    }
}

#[tokio::test]
async fn requires_client_certificates_if_configured() {
    let dir = TempDir::new().expect("folder");
    let pair = Pair::new();
    let ours = Authority::new();
    let others = Authority::new();
    let authorities = dir.path().join("ca.crt");
    pair.write(dir.path());
    fs::write(&authorities, &ours.certificate).expect("written");
    let server = serve(TlsFiles { client_ca: Some(authorities.clone()), ..files(dir.path()) }).await;
    let connects = async |identity: Option<Identity>| {
        let client = pair.client(&server);
        let client = identity.into_iter().fold(client, ClientBuilder::identity).build().expect("client");
        client.get(url(&server, "/v2/")).send().await.is_ok_and(|answer| answer.status() == 200)
    };
    assert!(connects(Some(ours.identity(4000))).await);
    assert!(!connects(None).await, "without a certificate");
    assert!(!connects(Some(others.identity(4000))).await, "with a certificate of another authority");
    assert!(!connects(Some(ours.identity(2020))).await, "with an expired certificate");

    fs::write(&authorities, "nothing").expect("written");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(connects(Some(ours.identity(4000))).await, "an invalid file changes nothing");
    fs::write(&authorities, &others.certificate).expect("written");
    let changed = async {
        while !connects(Some(others.identity(4000))).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), changed).await.expect("the new authority");
    assert!(!connects(Some(ours.identity(4000))).await, "the old authority is not trusted any more");
}

/// A client whose certificate authority is no longer trusted cannot resume its TLS session.
#[tokio::test]
async fn sessions_end_with_their_authority() {
    let dir = TempDir::new().expect("folder");
    let pair = Pair::new();
    let ours = Authority::new();
    let others = Authority::new();
    let authorities = dir.path().join("ca.crt");
    pair.write(dir.path());
    fs::write(&authorities, &ours.certificate).expect("written");
    let server = serve(TlsFiles { client_ca: Some(authorities.clone()), ..files(dir.path()) }).await;
    // A client that remembers TLS sessions but keeps no connection.
    let client = pair.client(&server).identity(ours.identity(4000)).pool_max_idle_per_host(0);
    let client = client.http1_only().build().expect("client");
    let connects = async || client.get(url(&server, "/v2/")).send().await.is_ok();
    assert!(connects().await && connects().await);
    fs::write(&authorities, &others.certificate).expect("written");
    let changed = async {
        while connects().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), changed).await.expect("rejected");
}
