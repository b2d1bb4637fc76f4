//! Helpers for the scenarios: names instead of digests, and hours instead of milliseconds.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::metadata::{
    Batch, BlobRecord, BlobSize, Change, CollectionRules, Commit, Deletion, Edge, EdgeKind, ImmutableTags,
    Integrity, ManifestRecord, Metadata, PushedDetails, PutManifest, PutOutcome, Renewal, Target, UploadEnd,
    lease_renewal_cutoff,
};
use crate::oci::{
    Algorithm, BlobKey, Digest, Generation, Hasher, ImageDetails, Reference, RepoName, Tag, UploadId,
};

/// An hour.
pub const HOUR: Duration = Duration::from_secs(60 * 60);

/// A day, which is also the lease duration and the trash time.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The size of every blob in bytes.
pub const SIZE: u64 = 10;

/// The bytes allocated on disk for every blob.
pub const ALLOCATED: u64 = 4096;

/// The size of every blob, logical and allocated.
pub const BLOB: BlobSize = BlobSize { logical: SIZE, allocated: ALLOCATED };

/// Returns the time that many hours after the start.
pub fn at(hours: i64) -> Timestamp {
    Timestamp(1_700_000_000_000 + hours * 3_600_000)
}

/// Returns rules with a lease and a trash time of a day each, and two weeks for untagged manifests.
pub fn rules(hours: i64) -> CollectionRules {
    CollectionRules {
        now: at(hours),
        lease: DAY,
        trash: DAY,
        untagged: Some(14 * DAY),
        leases_recorded_since: None,
    }
}

/// Returns the digest of the object called `name`.
pub fn digest(name: &str) -> Digest {
    Hasher::digest(Algorithm::Sha256, name.as_bytes())
}

/// Parses a repository name.
pub fn repo(name: &str) -> RepoName {
    name.parse().expect("a repository name")
}

/// Parses a tag.
pub fn tag(name: &str) -> Tag {
    name.parse().expect("a tag")
}

/// A manifest to be stored.
#[derive(Debug, Clone)]
pub struct Image(PutManifest);

/// Returns a manifest called `name` without references.
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
        requires_verified: true,
        change: at(0).into(),
    })
}

impl Image {
    fn edge(mut self, name: &str, kind: EdgeKind, required: bool) -> Self {
        self.0.edges.push(Edge { target: digest(name), kind, required, size: None });
        self
    }

    /// Requires this size of all targets.
    pub fn sized(mut self, size: u64) -> Self {
        self.0.edges.iter_mut().for_each(|edge| edge.size = Some(size));
        self
    }

    /// Adds a reference to a required blob.
    pub fn blob(self, name: &str) -> Self {
        self.edge(name, EdgeKind::Blob, true)
    }

    /// Adds a reference to a blob that may be absent.
    pub fn foreign_blob(self, name: &str) -> Self {
        self.edge(name, EdgeKind::Blob, false)
    }

    /// Adds a required child manifest.
    pub fn child(self, name: &str) -> Self {
        self.edge(name, EdgeKind::Child, true)
    }

    /// Adds a child manifest that may be absent.
    pub fn sparse_child(self, name: &str) -> Self {
        self.edge(name, EdgeKind::Child, false)
    }

    /// Sets the subject.
    pub fn subject(self, name: &str) -> Self {
        self.edge(name, EdgeKind::Subject, false)
    }

    /// Adds a tag to point at the manifest.
    pub fn tag(mut self, name: &str) -> Self {
        self.0.tags.push(tag(name));
        self
    }

    /// Sets how many history rows to keep for each tag.
    pub fn keep(mut self, rows: usize) -> Self {
        self.0.change.keep = rows;
        self
    }

    /// Sets how many history rows to keep for all tags together.
    pub fn keep_in_repository(mut self, rows: usize) -> Self {
        self.0.change.keep_in_repository = rows;
        self
    }

    /// Sets the image details.
    pub fn details(mut self, details: ImageDetails) -> Self {
        self.0.details = PushedDetails::Own(details);
        self
    }

    /// Adds a required config blob, with its details unless it was not read.
    pub fn config(self, name: &str, details: Option<ImageDetails>) -> Self {
        let mut image = self.blob(name);
        image.0.details = PushedDetails::Config { digest: digest(name), details };
        image
    }

    /// Sets who pushes it.
    pub fn by(mut self, name: &str) -> Self {
        self.0.change.by = Some(name.into());
        self
    }

    /// Sets the immutable tags.
    pub fn immutable_tags(mut self, immutable_tags: &ImmutableTags) -> Self {
        self.0.change.immutable_tags = immutable_tags.clone();
        self
    }

    /// Sets the artifact type.
    pub fn artifact_type(mut self, artifact_type: &str) -> Self {
        self.0.artifact_type = Some(artifact_type.into());
        self
    }

    /// Replaces the content by JSON with only this annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.0.content = serde_json::json!({ "annotations": { key: value } }).to_string().into_bytes();
        self
    }
}

/// A store with shorthands for its methods.
pub struct Scene {
    /// The store.
    pub store: Arc<Metadata>,
}

impl Scene {
    /// Creates a scene for this store.
    pub fn new(store: Arc<Metadata>) -> Self {
        Self { store }
    }

    /// Starts an upload.
    pub async fn start_upload(&self, to: &str, hours: i64) -> UploadId {
        let id = UploadId::random();
        self.store.create_upload(&repo(to), id, Algorithm::Sha256, at(hours)).await.expect("created");
        id
    }

    /// Commits an upload as the blob `name`. Returns the key, and `false` if the upload no longer exists.
    pub async fn commit(&self, id: UploadId, name: &str, hours: i64) -> (BlobKey, bool) {
        let key = BlobKey { digest: digest(name), generation: Generation::random() };
        let end = UploadEnd { now: at(hours), lease: DAY, min_lease: DAY };
        self.store.record_intent(id, &key).await.expect("intended");
        let committed = self.store.commit_upload(id, &key, BLOB, end).await.expect("an answer");
        (key, committed == Commit::Done)
    }

    /// Uploads a blob.
    pub async fn push(&self, to: &str, name: &str, hours: i64) -> BlobKey {
        let id = self.start_upload(to, hours).await;
        let (key, committed) = self.commit(id, name, hours).await;
        assert!(committed, "{name} is committed");
        key
    }

    /// Cancels an upload.
    pub async fn cancel(&self, id: UploadId, hours: i64) -> bool {
        let end = UploadEnd { now: at(hours), lease: DAY, min_lease: DAY };
        self.store.cancel_upload(id, None, end).await.expect("an answer")
    }

    /// Returns a blob as a repository serves it.
    pub async fn blob(&self, of: &str, name: &str) -> Option<BlobRecord> {
        self.store.blob(&repo(of), &digest(name)).await.expect("an answer")
    }

    /// Returns whether a repository serves a blob.
    pub async fn has_blob(&self, of: &str, name: &str) -> bool {
        self.blob(of, name).await.is_some()
    }

    /// Returns whether any repository has the blob.
    pub async fn is_stored(&self, name: &str) -> bool {
        self.store.stored_blob(&digest(name)).await.expect("an answer").is_some()
    }

    /// Quarantines a blob or releases it. Returns whether `key` is the current generation.
    pub async fn mark(&self, key: &BlobKey, damaged: bool, hours: i64) -> bool {
        let integrity = if damaged { Integrity::Damaged("it is short".into()) } else { Integrity::Intact };
        self.store.mark_blob(key, integrity, at(hours)).await.expect("an answer")
    }

    /// Stores a manifest and returns the result.
    pub async fn try_put(&self, to: &str, image: Image, hours: i64) -> PutOutcome {
        let put = {
            let change = Change { now: at(hours), ..image.0.change };
            PutManifest { repo: repo(to), change, ..image.0 }
        };
        self.store.put_manifest(put).await.expect("an answer")
    }

    /// Stores a manifest, which must succeed.
    pub async fn put(&self, to: &str, image: Image, hours: i64) {
        assert_eq!(self.try_put(to, image, hours).await, PutOutcome::Stored);
    }

    /// Returns a manifest by its name.
    pub async fn manifest(&self, of: &str, name: &str) -> Option<ManifestRecord> {
        self.store.manifest(&repo(of), &Reference::Digest(digest(name))).await.expect("an answer")
    }

    /// Returns a manifest by its tag.
    pub async fn tagged(&self, of: &str, name: &str) -> Option<ManifestRecord> {
        self.store.manifest(&repo(of), &Reference::Tag(tag(name))).await.expect("an answer")
    }

    /// Returns whether a repository serves a manifest.
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

    /// Simulates a HEAD request for a blob by a client with push access.
    pub async fn head_blob(&self, of: &str, name: &str, hours: i64) -> bool {
        self.head(of, Target::Blob(&digest(name)), hours, false).await
    }

    /// Simulates a HEAD request for a manifest by a client with push access.
    pub async fn head_manifest(&self, of: &str, name: &str, hours: i64) -> bool {
        self.head(of, Target::Manifest(&digest(name)), hours, false).await
    }

    /// Simulates a HEAD request by a client with push access. With `held`, the lease is recorded even if a
    /// manifest references the target.
    pub async fn head(&self, of: &str, target: Target<'_>, hours: i64, held: bool) -> bool {
        let renewal =
            Renewal { now: at(hours), stale: lease_renewal_cutoff(at(hours), DAY), held, tagged: true };
        self.store.renew_lease(&repo(of), target, renewal).await.expect("an answer")
    }

    /// Runs the collector's steps until none finds anything more to do. Returns how many links were deleted.
    pub async fn collect(&self, rules: CollectionRules) -> u64 {
        self.collect_in_batches(rules, 100).await
    }

    /// Like [`Scene::collect`] with batches of `limit`.
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

    /// Runs one step of each kind.
    pub async fn round(&self, rules: CollectionRules, limit: usize) -> [Batch; 4] {
        [
            self.store.review_manifests(&rules, limit).await.expect("reviewed"),
            self.store.expire_trash(&rules, limit).await.expect("expired"),
            self.store.purge_manifests(&rules, limit).await.expect("purged"),
            self.store.review_links(&rules, limit).await.expect("reviewed"),
        ]
    }

    /// Returns the keys whose content is to be deleted.
    pub async fn pending_deletions(&self) -> Vec<BlobKey> {
        let pending = self.store.pending_deletions(1000).await.expect("an answer");
        pending.into_iter().map(|(key, _)| key).collect()
    }

    /// Asserts that the records do not contradict each other.
    pub async fn assert_consistent(&self) {
        assert_eq!(self.store.verify().await.expect("an answer"), Vec::<String>::new());
    }
}
