//! TLS, for Docker refuses plain HTTP beyond localhost.

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

    /// A connection of HTTP/1 over TLS, without a client above it.
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

    /// Whether a new connection gets this certificate.
    pub async fn is_shown_by(&self, server: &Server) -> bool {
        let client = self.client(server).build().expect("client");
        client.get(url(server, "/v2/")).send().await.is_ok_and(|answer| answer.status() == 200)
    }

    /// Waits until new connections get this certificate.
    pub async fn comes_to(&self, server: &Server) {
        let shown = async {
            while !self.is_shown_by(server).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // A second is what is promised; the machine that tests this may be busy.
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

/// A server with this certificate, and the folder that it is in.
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
async fn both_versions_are_spoken_over_tls() {
    let (dir, pair) = (TempDir::new().expect("folder"), Pair::new());
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
    // Plain HTTP on this port is no TLS, and harms nothing.
    assert!(server.get("/v2/").send().await.is_err());
    assert!(pair.is_shown_by(&server).await);
}

/// Who is being served when the certificate changes is served to the end.
#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let (dir, old, new) = (TempDir::new().expect("folder"), Pair::new(), Pair::new());
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
    new.comes_to(&server).await;
    assert!(!old.is_shown_by(&server).await);
    while let Some(piece) = pieces.next().await {
        got.extend_from_slice(&piece.expect("read"));
    }
    assert!(got == content);
    // The same connection still takes requests.
    assert_eq!(client.get(url(&server, "/v2/")).send().await.expect("answer").status(), 200);
}

#[tokio::test]
async fn files_that_do_not_work_leave_what_does() {
    let (dir, old, new) = (TempDir::new().expect("folder"), Pair::new(), Pair::new());
    old.write(dir.path());
    let server = serve(files(dir.path())).await;
    let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    let half = &new.certificate[..new.certificate.len() / 2];
    let slips: [&dyn Fn(); 4] = [
        &|| fs::write(&certificate, half).expect("written"),
        // A pair whose parts are not each other's.
        &|| fs::write(&certificate, &new.certificate).expect("written"),
        &|| fs::write(&key, "").expect("written"),
        &|| fs::remove_file(&key).expect("removed"),
    ];
    for slip in slips {
        slip();
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert!(old.is_shown_by(&server).await);
    }
    new.write(dir.path());
    new.comes_to(&server).await;
}

/// Kubernetes shows each version of a secret in a folder of its own, to which it swaps one link.
#[tokio::test]
async fn the_swap_of_a_link_is_a_change() {
    let (dir, old, new) = (TempDir::new().expect("folder"), Pair::new(), Pair::new());
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
    assert!(old.is_shown_by(&server).await);
    version("..2", &new);
    fs::remove_dir_all(first).expect("removed");
    new.comes_to(&server).await;
}

/// An authority, which signs the certificates of clients.
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

    /// A certificate with its key, good until a year.
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
async fn clients_show_a_certificate_where_they_must() {
    let (dir, pair) = (TempDir::new().expect("folder"), Pair::new());
    let (ours, others) = (Authority::new(), Authority::new());
    let authorities = dir.path().join("ca.crt");
    pair.write(dir.path());
    fs::write(&authorities, &ours.certificate).expect("written");
    let server = serve(TlsFiles { client_ca: Some(authorities.clone()), ..files(dir.path()) }).await;
    let comes_in = async |identity: Option<Identity>| {
        let client = pair.client(&server);
        let client = identity.into_iter().fold(client, ClientBuilder::identity).build().expect("client");
        client.get(url(&server, "/v2/")).send().await.is_ok_and(|answer| answer.status() == 200)
    };
    assert!(comes_in(Some(ours.identity(4000))).await);
    assert!(!comes_in(None).await, "with none");
    assert!(!comes_in(Some(others.identity(4000))).await, "with somebody else's");
    assert!(!comes_in(Some(ours.identity(2020))).await, "with one that has ended");

    fs::write(&authorities, "nothing").expect("written");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(comes_in(Some(ours.identity(4000))).await, "a slip shuts nobody out");
    fs::write(&authorities, &others.certificate).expect("written");
    let changed = async {
        while !comes_in(Some(others.identity(4000))).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), changed).await.expect("the new authority");
    assert!(!comes_in(Some(ours.identity(4000))).await, "signed by none any more");
}

/// Who was let in by an authority that is none any more may not take up the session of then.
#[tokio::test]
async fn no_session_outlives_its_authority() {
    let (dir, pair) = (TempDir::new().expect("folder"), Pair::new());
    let (ours, others) = (Authority::new(), Authority::new());
    let authorities = dir.path().join("ca.crt");
    pair.write(dir.path());
    fs::write(&authorities, &ours.certificate).expect("written");
    let server = serve(TlsFiles { client_ca: Some(authorities.clone()), ..files(dir.path()) }).await;
    // One client, which remembers its sessions and keeps no connection.
    let client = pair.client(&server).identity(ours.identity(4000)).pool_max_idle_per_host(0);
    let client = client.http1_only().build().expect("client");
    let comes_in = async || client.get(url(&server, "/v2/")).send().await.is_ok();
    assert!(comes_in().await && comes_in().await);
    fs::write(&authorities, &others.certificate).expect("written");
    let changed = async {
        while comes_in().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), changed).await.expect("shut out");
}
