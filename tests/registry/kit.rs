//! Shared helpers for the registry tests.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::jobs::{Collector, CollectorSettings};
use orlop::metadata::{Access as MetadataAccess, Metadata};
use orlop::oci::{Algorithm, Digest, Hasher, Reference};
use orlop::registry::{
    Access, ClientBody, ClientError, PutManifestError, PutRequest, Registry, Repository, Settings,
    UploadError,
};
use orlop::store::MemoryStore;
use tempfile::TempDir;

pub const LEASE: Duration = Duration::from_secs(100);
pub const TRASH: Duration = Duration::from_secs(1000);
pub const UNTAGGED: Duration = Duration::from_secs(5000);

/// A registry over an in-memory store and a temporary database, with a clock that the test moves.
pub struct Kit {
    pub registry: Arc<Registry>,
    pub store: MemoryStore,
    pub clock: Arc<ManualClock>,
    pub collector: Collector,
    pub metadata_dir: TempDir,
}

impl Kit {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let metadata_dir = TempDir::new().expect("temporary folder");
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
        let mut settings = Settings { lease: LEASE, min_free: 0, warn_free: 0, ..Settings::default() };
        change(&mut settings);
        Self::assemble(metadata_dir, MemoryStore::new(), clock, settings)
    }

    /// Restarts the registry over the same store and database.
    pub async fn restarted(self) -> Self {
        self.restarted_with(|_| {}).await
    }

    /// Restarts the registry with changed settings.
    pub async fn restarted_with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.registry.settings().clone();
        change(&mut settings);
        let Self { registry, store, clock, collector, metadata_dir } = self;
        drop((registry, collector));
        let kit = Self::assemble(metadata_dir, store.reopened(), clock, settings);
        kit.registry.recover().await.expect("recovery");
        kit
    }

    fn assemble(
        metadata_dir: TempDir,
        store: MemoryStore,
        clock: Arc<ManualClock>,
        settings: Settings,
    ) -> Self {
        let metadata = Metadata::open(metadata_dir.path(), MetadataAccess::ReadWrite).expect("metadata");
        let shared: Arc<dyn Clock> = clock.clone();
        let registry = Registry::new(Arc::new(store.clone()), Arc::new(metadata), shared, settings);
        let rules = CollectorSettings {
            trash: TRASH,
            untagged: Some(UNTAGGED),
            upload_expiry: Duration::from_secs(1000),
            batch: 3,
        };
        let collector = Collector::new(Arc::clone(&registry), rules);
        Self { registry, store, clock, collector, metadata_dir }
    }

    pub fn repo(&self, name: &str) -> Repository {
        self.registry.repository(name.parse().expect("name"), Access { push: true })
    }

    /// Advances the clock by `span` and runs the collector until it has nothing left to do.
    pub async fn pass(&self, span: Duration) {
        self.clock.advance(span);
        self.collector.run_to_end(|_| {}).await.expect("collection");
    }
}

pub fn digest(content: &[u8]) -> Digest {
    let digest = Hasher::digest(Algorithm::Sha256, content);
    SIZES.lock().expect("sizes").insert(digest.clone(), content.len());
    digest
}

/// The length of every content that a test has hashed. Descriptors need it.
static SIZES: LazyLock<Mutex<HashMap<Digest, usize>>> = LazyLock::new(Mutex::default);

/// The length of the content with this digest, or 1 if no test has hashed it.
pub fn size_of(digest: &Digest) -> usize {
    SIZES.lock().expect("sizes").get(digest).copied().unwrap_or(1)
}

pub fn body(pieces: &[&[u8]]) -> ClientBody {
    let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

/// A body whose connection breaks after `piece`.
pub fn broken(piece: &[u8]) -> ClientBody {
    stream::iter([Ok(Bytes::copy_from_slice(piece)), Err(ClientError::Disconnected)]).boxed()
}

pub async fn push(repo: &Repository, content: &[u8]) -> Digest {
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    repo.finish(id, None, body(&[content]), digest(content)).await.expect("blob");
    digest(content)
}

/// Pushes a blob. If it is refused, nothing of it is left.
pub async fn try_push(repo: &Repository, content: &[u8]) -> Result<Digest, UploadError> {
    let id = repo.start_upload(Algorithm::Sha256).await?;
    let pushed = repo.finish(id, None, body(&[content]), digest(content)).await;
    if pushed.is_err() {
        repo.cancel_upload(id).await.expect("cancelled");
    }
    pushed.map(|()| digest(content))
}

/// Reads a blob with pull access only, so that the read takes no lease.
pub async fn read(repo: &Repository, digest: &Digest) -> Option<Vec<u8>> {
    let repo = repo.without_push();
    let blob = repo.blob(digest).await.ok()?;
    let mut pieces = repo.read_blob(&blob, 0..blob.size).await.ok()?.into_stream();
    let mut all = Vec::new();
    while let Some(piece) = pieces.next().await {
        all.extend_from_slice(&piece.ok()?);
    }
    Some(all)
}

pub fn image(config: &Digest, layers: &[&Digest]) -> String {
    let descriptor = |digest: &Digest, kind: &str| serde_json::json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest.as_str(), "size": size_of(digest)});
    let layers: Vec<_> = layers.iter().map(|layer| descriptor(layer, "layer.v1.tar")).collect();
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(config, "config.v1+json"),
        "layers": layers,
    })
    .to_string()
}

pub fn index(children: &[&Digest]) -> String {
    let manifests: Vec<_> = children
        .iter()
        .map(|child| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": child.as_str(), "size": size_of(child)
            })
        })
        .collect();
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    })
    .to_string()
}

pub async fn put(repo: &Repository, tags: &[&str], content: &str) -> Result<Digest, PutManifestError> {
    let request = PutRequest {
        digest: Some(digest(content.as_bytes())),
        tags: tags.iter().map(|tag| tag.parse().expect("tag")).collect(),
        content_type: None,
        content: Bytes::copy_from_slice(content.as_bytes()),
    };
    repo.put_manifest(request).await.map(|receipt| receipt.digest)
}

/// Pushes an image with one layer. Returns the digests of its manifest, config and layer.
pub async fn push_image(repo: &Repository, tag: &str, content: &str) -> (Digest, Digest, Digest) {
    let config = push(repo, format!("{{\"config of\":\"{content}\"}}").as_bytes()).await;
    let layer = push(repo, content.as_bytes()).await;
    let manifest = put(repo, &[tag], &image(&config, &[&layer])).await.expect("manifest");
    (manifest, config, layer)
}

/// Whether a client with pull access only can read the manifest.
pub async fn has(repo: &Repository, reference: &str) -> bool {
    let repo = repo.without_push();
    let reference: Reference = reference.parse().expect("reference");
    repo.manifest(&reference).await.is_ok()
}
