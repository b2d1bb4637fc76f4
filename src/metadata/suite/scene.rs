//! What the scenarios are told with: names instead of digests, hours instead of milliseconds.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::metadata::{
    Batch, BlobRecord, BlobSize, Change, CollectionRules, Commit, Condition, Deletion, Edge, EdgeKind,
    ImmutableTags, ManifestRecord, MetadataStore, PushedDetails, PutManifest, PutOutcome, Renewal, Target,
    UploadEnd, stale_lease,
};
use crate::oci::{
    Algorithm, BlobKey, Digest, Generation, Hasher, ImageDetails, Reference, RepoName, Tag, UploadId,
};

/// An hour.
pub const HOUR: Duration = Duration::from_secs(60 * 60);

/// A lease, and the trash time: a day.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How big every blob is.
pub const SIZE: u64 = 10;

/// What the medium spends on it.
pub const ALLOCATED: u64 = 4096;

/// Both.
pub const BLOB: BlobSize = BlobSize { logical: SIZE, allocated: ALLOCATED };

/// That many hours after the beginning.
pub fn at(hours: i64) -> Timestamp {
    Timestamp(1_700_000_000_000 + hours * 3_600_000)
}

/// Leases and trash of a day, and two weeks for what is untagged.
pub fn rules(hours: i64) -> CollectionRules {
    CollectionRules {
        now: at(hours),
        lease: DAY,
        trash: DAY,
        untagged: Some(14 * DAY),
        leases_recorded_since: None,
    }
}

/// The digest of whatever is called `name`.
pub fn digest(name: &str) -> Digest {
    Hasher::digest(Algorithm::Sha256, name.as_bytes())
}

/// A repository's name.
pub fn repo(name: &str) -> RepoName {
    name.parse().expect("a repository name")
}

/// A tag.
pub fn tag(name: &str) -> Tag {
    name.parse().expect("a tag")
}

/// A manifest to be put.
#[derive(Debug, Clone)]
pub struct Image(PutManifest);

/// A manifest called `name` that refers to nothing.
pub fn image(name: &str) -> Image {
    Image(PutManifest {
        repo: repo("app"),
        digest: digest(name),
        content: name.into(),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        artifact_type: None,
        details: PushedDetails::Own(ImageDetails::default()),
        edges: Vec::new(),
        tags: Vec::new(),
        change: at(0).into(),
    })
}

impl Image {
    fn edge(mut self, name: &str, kind: EdgeKind, required: bool) -> Self {
        self.0.edges.push(Edge { target: digest(name), kind, required, size: None });
        self
    }

    /// All that it refers to must have this many bytes.
    pub fn sized(mut self, size: u64) -> Self {
        self.0.edges.iter_mut().for_each(|edge| edge.size = Some(size));
        self
    }

    /// It needs this blob.
    pub fn blob(self, name: &str) -> Self {
        self.edge(name, EdgeKind::Blob, true)
    }

    /// It refers to this blob, which may be absent.
    pub fn foreign_blob(self, name: &str) -> Self {
        self.edge(name, EdgeKind::Blob, false)
    }

    /// It lists this manifest.
    pub fn child(self, name: &str) -> Self {
        self.edge(name, EdgeKind::Child, true)
    }

    /// It lists this manifest, which may be absent.
    pub fn sparse_child(self, name: &str) -> Self {
        self.edge(name, EdgeKind::Child, false)
    }

    /// It refers to this manifest.
    pub fn subject(self, name: &str) -> Self {
        self.edge(name, EdgeKind::Subject, false)
    }

    /// This tag is to point at it.
    pub fn tag(mut self, name: &str) -> Self {
        self.0.tags.push(tag(name));
        self
    }

    /// So many rows of its tags' history are kept.
    pub fn keep(mut self, rows: usize) -> Self {
        self.0.change.keep = rows;
        self
    }

    /// So many rows of the history of all tags are kept.
    pub fn keep_in_repository(mut self, rows: usize) -> Self {
        self.0.change.keep_in_repository = rows;
        self
    }

    /// What its image is for.
    pub fn details(mut self, details: ImageDetails) -> Self {
        self.0.details = PushedDetails::Own(details);
        self
    }

    /// This blob is its config, which says this, unless it was not read.
    pub fn config(self, name: &str, details: Option<ImageDetails>) -> Self {
        let mut image = self.blob(name);
        image.0.details = PushedDetails::Config { digest: digest(name), details };
        image
    }

    /// These tags are immutable.
    pub fn fixed(mut self, fixed: &ImmutableTags) -> Self {
        self.0.change.fixed = fixed.clone();
        self
    }

    /// Its artifact type.
    pub fn artifact_type(mut self, artifact_type: &str) -> Self {
        self.0.artifact_type = Some(artifact_type.into());
        self
    }

    /// It consists of this annotation alone.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.0.content = serde_json::json!({ "annotations": { key: value } }).to_string().into_bytes();
        self
    }
}

/// A store, and short ways to ask things of it.
pub struct Scene {
    /// The store.
    pub store: Arc<dyn MetadataStore>,
}

impl Scene {
    /// A scene on this store.
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }

    /// Begins an upload.
    pub async fn begin(&self, to: &str, hours: i64) -> UploadId {
        let id = UploadId::random();
        self.store.create_upload(&repo(to), id, Algorithm::Sha256, at(hours)).await.expect("created");
        id
    }

    /// Ends an upload with the blob `name`. `false` if the upload is no more.
    pub async fn commit(&self, id: UploadId, name: &str, hours: i64) -> (BlobKey, bool) {
        let key = BlobKey { digest: digest(name), generation: Generation::random() };
        let end = UploadEnd { now: at(hours), lease: DAY, shortest: DAY };
        self.store.intend(id, &key).await.expect("intended");
        let committed = self.store.commit_upload(id, &key, BLOB, end).await.expect("an answer");
        (key, committed == Commit::Done)
    }

    /// Uploads a blob in no time.
    pub async fn push(&self, to: &str, name: &str, hours: i64) -> BlobKey {
        let id = self.begin(to, hours).await;
        let (key, committed) = self.commit(id, name, hours).await;
        assert!(committed, "{name} is committed");
        key
    }

    /// Gives up an upload.
    pub async fn cancel(&self, id: UploadId, hours: i64) -> bool {
        let end = UploadEnd { now: at(hours), lease: DAY, shortest: DAY };
        self.store.cancel_upload(id, None, end).await.expect("an answer")
    }

    /// A blob as a repository serves it.
    pub async fn blob(&self, of: &str, name: &str) -> Option<BlobRecord> {
        self.store.blob(&repo(of), &digest(name)).await.expect("an answer")
    }

    /// Whether a repository serves a blob.
    pub async fn has_blob(&self, of: &str, name: &str) -> bool {
        self.blob(of, name).await.is_some()
    }

    /// Whether the blob is recorded at all.
    pub async fn is_stored(&self, name: &str) -> bool {
        self.store.stored_blob(&digest(name)).await.expect("an answer").is_some()
    }

    /// Says what a look at a blob's bytes has told. Whether they are the current ones.
    pub async fn mark(&self, key: &BlobKey, damaged: bool, hours: i64) -> bool {
        let condition = if damaged { Condition::Damaged("it is short".into()) } else { Condition::Sound };
        self.store.mark_blob(key, condition, at(hours)).await.expect("an answer")
    }

    /// Puts a manifest.
    pub async fn try_put(&self, to: &str, image: Image, hours: i64) -> PutOutcome {
        let put = {
            let change = Change { now: at(hours), ..image.0.change };
            PutManifest { repo: repo(to), change, ..image.0 }
        };
        self.store.put_manifest(put).await.expect("an answer")
    }

    /// Puts a manifest that lacks nothing.
    pub async fn put(&self, to: &str, image: Image, hours: i64) {
        assert_eq!(self.try_put(to, image, hours).await, PutOutcome::Stored);
    }

    /// A manifest by its name.
    pub async fn manifest(&self, of: &str, name: &str) -> Option<ManifestRecord> {
        self.store.manifest(&repo(of), &Reference::Digest(digest(name))).await.expect("an answer")
    }

    /// A manifest by its tag.
    pub async fn tagged(&self, of: &str, name: &str) -> Option<ManifestRecord> {
        self.store.manifest(&repo(of), &Reference::Tag(tag(name))).await.expect("an answer")
    }

    /// Whether a repository serves a manifest.
    pub async fn has(&self, of: &str, name: &str) -> bool {
        self.manifest(of, name).await.is_some()
    }

    /// Deletes a manifest.
    pub async fn delete(&self, of: &str, name: &str, hours: i64) -> Deletion {
        self.store.delete_manifest(&repo(of), &digest(name), &at(hours).into()).await.expect("an answer")
    }

    /// Deletes a blob.
    pub async fn delete_blob(&self, of: &str, name: &str, hours: i64) -> Deletion {
        self.store.delete_blob(&repo(of), &digest(name), at(hours)).await.expect("an answer")
    }

    /// Deletes a tag.
    pub async fn untag(&self, of: &str, name: &str, hours: i64) -> bool {
        let change = at(hours).into();
        let deleted = self.store.delete_tag(&repo(of), &tag(name), &change).await.expect("an answer");
        deleted == Deletion::Done
    }

    /// A HEAD on a blob by a pusher.
    pub async fn head_blob(&self, of: &str, name: &str, hours: i64) -> bool {
        self.head(of, Target::Blob(&digest(name)), hours, false).await
    }

    /// A HEAD on a manifest by a pusher.
    pub async fn head_manifest(&self, of: &str, name: &str, hours: i64) -> bool {
        self.head(of, Target::Manifest(&digest(name)), hours, false).await
    }

    /// A HEAD by a pusher that is written down even if something holds the target.
    pub async fn head(&self, of: &str, target: Target<'_>, hours: i64, held: bool) -> bool {
        let renewal = Renewal { now: at(hours), stale: stale_lease(at(hours), DAY), held, tagged: true };
        self.store.renew_lease(&repo(of), target, renewal).await.expect("an answer")
    }

    /// Runs the collector's steps until none finds anything more to do. How many links it deleted.
    pub async fn collect(&self, rules: CollectionRules) -> u64 {
        self.collect_in_batches(rules, 100).await
    }

    /// The same with batches of `limit`.
    pub async fn collect_in_batches(&self, rules: CollectionRules, limit: usize) -> u64 {
        let mut links = 0;
        for _ in 0..10_000 {
            let round = self.round(rules, limit).await;
            links += round[3].changed;
            if !round.iter().any(|batch| batch.more || batch.changed > 0) {
                return links;
            }
        }
        panic!("the collector never ends");
    }

    /// One step of each kind.
    pub async fn round(&self, rules: CollectionRules, limit: usize) -> [Batch; 4] {
        [
            self.store.review_manifests(&rules, limit).await.expect("reviewed"),
            self.store.expire_trash(&rules, limit).await.expect("condemned"),
            self.store.purge_manifests(&rules, limit).await.expect("purged"),
            self.store.review_links(&rules, limit).await.expect("reviewed"),
        ]
    }

    /// Keys whose bytes are to be removed.
    pub async fn doomed(&self) -> Vec<BlobKey> {
        let doomed = self.store.doomed(1000).await.expect("an answer");
        doomed.into_iter().map(|(key, _)| key).collect()
    }

    /// The facts do not contradict each other.
    pub async fn verifies(&self) {
        assert_eq!(self.store.verify().await.expect("an answer"), Vec::<String>::new());
    }
}
