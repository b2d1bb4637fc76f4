//! Helpers that the HTTP tests share: a server to test, and assertions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use orlop::auth::{AccessControl, AccessSettings, Accounts, Identities, TokenKey, Tokens};
use orlop::clock::{ManualClock, Timestamp};
use orlop::http::api::{Api, Changes};
use orlop::http::listen::{ListenSettings, serve};
use orlop::http::{AlwaysReady, App, AppState, Health, HttpMetrics, HttpSettings};
use orlop::jobs::retention::{PolicySet, RetentionSettings};
use orlop::jobs::{Collector, CollectorSettings, Retention, Scrub, ScrubSettings};
use orlop::metadata::Faults;
use orlop::metadata::{Access, Metadata};
use orlop::oci::{Algorithm, Digest, Hasher};
use orlop::registry::{Registry, Settings};
use orlop::retention::Policies;
use orlop::store::{BlobStore, FilesystemStore, MemoryStore};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The settings of the collector, which determine when content expires; nothing is collected in these tests.
const COLLECTING: CollectorSettings = CollectorSettings {
    trash: TRASH,
    untagged: None,
    upload_expiry: Duration::from_secs(24 * 60 * 60),
    batch: 100,
};

pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// How long removed content stays in the trash.
pub const TRASH: Duration = Duration::from_secs(24 * 60 * 60);

/// The lifetime of tokens.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// The configuration of a server.
pub struct Setup {
    pub registry: Settings,
    pub http: HttpSettings,
    pub listen: ListenSettings,
    pub changes: Changes,
    pub access_control: AccessSettings,
    pub health: Arc<dyn Health>,
    /// Store blobs in files instead of in memory.
    pub files: bool,
    pub policies: Policies,
    /// The faults to inject into the metadata store.
    pub metadata_faults: Faults,
    /// Creates the identity providers, which use the server's clock.
    pub identities: Box<dyn FnOnce(Arc<ManualClock>) -> Identities + Send>,
}

/// A registry that listens on its own port and stores blobs in memory by default.
pub struct Server {
    pub address: SocketAddr,
    pub client: Client,
    pub bytes: MemoryStore,
    pub registry: Arc<Registry>,
    pub clock: Arc<ManualClock>,
    pub access_control: Arc<AccessControl>,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<()>,
    pub metadata_dir: TempDir,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            registry: Settings { min_free: 0, warn_free: 0, ..Settings::default() },
            http: HttpSettings::default(),
            listen: ListenSettings::default(),
            changes: Changes::default(),
            access_control: AccessSettings::default(),
            health: Arc::new(AlwaysReady),
            files: false,
            policies: Policies::default(),
            metadata_faults: Faults::new(),
            identities: Box::new(|_| Identities::default()),
        };
        change(&mut setup);
        let metadata_dir = TempDir::new().expect("folder");
        let bytes = MemoryStore::new();
        let metadata = Metadata::open(metadata_dir.path(), Access::ReadWrite).expect("metadata");
        let metadata = metadata.with_faults(setup.metadata_faults);
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
        let store: Arc<dyn BlobStore> = if setup.files {
            let root = metadata_dir.path().join("blobs");
            Arc::new(FilesystemStore::open(&root, orlop::store::Access::ReadWrite).expect("store"))
        } else {
            Arc::new(bytes.clone())
        };
        setup.listen.memory = setup.registry.memory.clone();
        let registry = Registry::new(store, Arc::new(metadata), clock.clone(), setup.registry);
        let shared_registry = Arc::clone(&registry);
        let mut exposition = prometheus_client::registry::Registry::default();
        let metrics = Arc::new(HttpMetrics::register(&mut exposition));
        let scrub = ScrubSettings { period: None, rate: 1 << 20 };
        let scrub = Arc::new(Scrub::new(Arc::clone(&registry), scrub));
        let collector = Arc::new(Collector::new(Arc::clone(&registry), COLLECTING));
        let rules = RetentionSettings { batch: 100 };
        let policies = Arc::new(PolicySet::from_file(setup.policies).expect("policies"));
        let retention = Arc::new(Retention::new(Arc::clone(&registry), policies, rules));
        let health = Arc::clone(&setup.health);
        let accounts = Accounts::load(Arc::clone(registry.metadata())).await.expect("accounts");
        let tokens = Tokens::new(&TokenKey::random().expect("a key"), TOKEN_LIFETIME);
        let access_control =
            AccessControl::new(setup.access_control, Arc::new(accounts), tokens, clock.clone())
                .expect("an access control");
        let access_control =
            Arc::new(access_control.with_identity_providers((setup.identities)(Arc::clone(&clock))));
        let shared_access_control = Arc::clone(&access_control);
        let api_access_control = Arc::clone(&access_control);
        let api = Api::new(
            Arc::clone(&registry),
            collector,
            health,
            scrub,
            retention,
            api_access_control,
            setup.changes,
        );
        let api = Arc::new(api);
        let settings = setup.http;
        let health = setup.health;
        let app = App::new(AppState { registry, settings, health, metrics, access_control, exposition }, api);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, app, setup.listen, shutdown.clone()));
        Self {
            address,
            client: Client::new(),
            bytes,
            registry: shared_registry,
            clock,
            access_control: shared_access_control,
            shutdown,
            serving,
            metadata_dir,
        }
    }

    /// A request for a path, or for a `Location` that is one.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub fn head(&self, path: &str) -> RequestBuilder {
        self.request(Method::HEAD, path)
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub fn patch(&self, path: &str) -> RequestBuilder {
        self.request(Method::PATCH, path)
    }

    pub fn put(&self, path: &str) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    /// Starts an upload and returns its location.
    pub async fn upload(&self, repo: &str) -> String {
        let response = self.post(&format!("/v2/{repo}/blobs/uploads/")).send().await.expect("answer");
        assert_eq!(response.status(), 202);
        let location = text(response.headers(), "location");
        // With a public URL, it is absolute.
        let path = location.find("/v2/").expect("a path");
        location[path..].to_owned()
    }

    /// Pushes a blob as containerd does.
    pub async fn push(&self, repo: &str, content: &[u8]) -> Digest {
        let location = self.upload(repo).await;
        let digest = digest(content);
        let put = self.put(&format!("{location}?digest={digest}")).body(content.to_vec());
        assert_eq!(put.send().await.expect("answer").status(), 201);
        digest
    }

    pub async fn put_manifest(&self, repo: &str, reference: &str, content: &str) -> Response {
        let path = format!("/v2/{repo}/manifests/{reference}");
        self.put(&path)
            .header("content-type", media_type(content))
            .body(content.to_owned())
            .send()
            .await
            .expect("answer")
    }

    /// Pushes an image with one layer under a tag; returns the manifest and its digest.
    pub async fn push_image(&self, repo: &str, tag: &str, layer: &[u8]) -> (String, Digest) {
        let config = self.push(repo, b"{}").await;
        let layer = self.push(repo, layer).await;
        let manifest = image(&config, &layer, None);
        let response = self.put_manifest(repo, tag, &manifest).await;
        assert_eq!(response.status(), 201, "{:?}", response.text().await);
        let digest = digest(manifest.as_bytes());
        (manifest, digest)
    }

    /// Sends raw bytes and reads the response until the server closes the connection or is silent.
    pub async fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.expect("sent");
        read_all(&mut stream).await
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }
}

/// Reads until the other side closes the connection or is silent for two seconds.
pub async fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    let read_timeout = Duration::from_secs(2);
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(read_timeout, stream.read(&mut buffer)).await {
        all.extend_from_slice(&buffer[..count]);
        if all.ends_with(b"]}") || all.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

pub fn digest(content: &[u8]) -> Digest {
    let digest = Hasher::digest(Algorithm::Sha256, content);
    SIZES.lock().expect("sizes").insert(digest.clone(), content.len());
    digest
}

/// The length of each content whose digest a test computed; descriptors need it.
static SIZES: LazyLock<Mutex<HashMap<Digest, usize>>> = LazyLock::new(Mutex::default);

/// The length of the content with this digest; 1 if no test computed the digest.
pub fn size_of(digest: &Digest) -> usize {
    SIZES.lock().expect("sizes").get(digest).copied().unwrap_or(1)
}

/// The text of a header; empty if it is missing.
pub fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned()).unwrap_or_default()
}

/// Asserts that the response is a `/v2` error with this status and code; returns the error.
pub async fn refused(request: RequestBuilder, status: u16, code: &str) -> Value {
    let response = request.send().await.expect("answer");
    let actual = response.status();
    let version = text(response.headers(), "docker-distribution-api-version");
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(
        (actual, &body["errors"][0]["code"]),
        (StatusCode::from_u16(status).expect("status"), &code.into()),
        "{body}"
    );
    assert_eq!(version, "registry/2.0");
    body["errors"][0].clone()
}

pub fn media_type(manifest: &str) -> String {
    let manifest: Value = serde_json::from_str(manifest).unwrap_or_default();
    manifest["mediaType"].as_str().unwrap_or(IMAGE).to_owned()
}

pub fn image(config: &Digest, layer: &Digest, subject: Option<(&Digest, &str)>) -> String {
    let descriptor = |digest: &Digest, kind: &str| {
        serde_json::json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest.as_str(), "size": size_of(digest)
        })
    };
    let mut image = serde_json::json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": descriptor(config, "config.v1+json"), "layers": [descriptor(layer, "layer.v1.tar")],
    });
    if let Some((subject, artifact_type)) = subject {
        image["subject"] = descriptor(subject, "manifest.v1+json");
        image["artifactType"] = artifact_type.into();
    }
    image.to_string()
}
