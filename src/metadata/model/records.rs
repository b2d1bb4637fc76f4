//! The records that the metadata store reads and writes, as its callers see them.

use std::time::Duration;

use bytes::Bytes;

use super::{Change, OverQuota, Weigh};
use crate::clock::Timestamp;
use crate::oci::{Algorithm, Annotations, BlobKey, Digest, ImageDetails, RepoName, Tag, UploadId};

/// How far an upload has come: its durable bytes and the hash state after the last of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Number of durable bytes.
    pub offset: u64,
    /// [`crate::oci::Hasher::save`] of those bytes; empty if there are none.
    pub hash_state: Vec<u8>,
}

/// The end of an upload. It extends the leases that were running when the upload began until one lease duration
/// after its end. A push that takes longer than a lease thus still finds everything it has checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadEnd {
    /// When it ends.
    pub now: Timestamp,
    /// The configured lease duration.
    pub lease: Duration,
    /// The shortest lease duration that can apply under pressure. It determines how precisely the start and end
    /// of the upload are recorded.
    pub min_lease: Duration,
}

/// A correction of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockJump {
    /// The start of the span, by the wrong clock.
    pub from: Timestamp,
    /// The end of the span, by the wrong clock.
    pub until: Timestamp,
    /// How far the clock was behind.
    pub by: Duration,
}

/// A request to renew a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// The current time.
    pub now: Timestamp,
    /// Renews the lease only if it was last given at or before this time.
    pub stale: Timestamp,
    /// Renews it even while a tag keeps the target alive.
    pub tagged: bool,
    /// Renews it even while a manifest references the target.
    pub held: bool,
}

/// An open upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// Its id.
    pub id: UploadId,
    /// The algorithm its content is hashed with.
    pub algorithm: Algorithm,
    /// The progress that a restart can continue from.
    pub progress: Progress,
    /// The blob key that its content is about to be published under, or may have been before a crash.
    pub intent: Option<BlobKey>,
    /// When it was last active.
    pub touched_at: Timestamp,
}

/// The repository of an upload and its recorded progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadStatus {
    /// The repository.
    pub repo: RepoName,
    /// Number of durable, recorded bytes.
    pub offset: u64,
}

/// A blob as a repository serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRecord {
    /// The key of its content in the blob store.
    pub key: BlobKey,
    /// Its size in bytes.
    pub size: u64,
    /// When a client with push access last needed it.
    pub leased_at: Timestamp,
}

/// A blob as the registry stores it, independent of repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// The key of its content in the blob store.
    pub key: BlobKey,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is quarantined: its content is missing or does not match its digest.
    pub damaged: bool,
    /// The bytes allocated for it on disk, if measured.
    pub allocated: Option<u64>,
    /// Whether it was adopted and its content has not been hashed yet.
    pub unverified: bool,
    /// Whether its file is a hard link that another registry's tree has too, so that removing it frees nothing.
    pub hardlinked: bool,
}

/// The size of a blob in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlobSize {
    /// As it was pushed.
    pub logical: u64,
    /// As allocated on disk.
    pub allocated: u64,
}

/// The result of creating an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadCreation {
    /// It is recorded.
    Created,
    /// Its repository is new and would exceed a quota; nothing changed.
    Refused(OverQuota),
}

/// The result of committing an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// The upload is a blob now.
    Done,
    /// The upload no longer exists; nothing changed.
    Unknown,
    /// A quota would be exceeded; nothing changed.
    Refused(OverQuota),
}

/// The result of mounting a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// The repository serves the blob.
    Done(BlobRecord),
    /// The blob does not exist.
    Missing,
    /// A quota would be exceeded; nothing changed.
    Refused(OverQuota),
}

/// A manifest as `fsck` reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its position in the order of [`crate::metadata::Metadata::manifests_after`].
    pub id: i64,
    /// Its repository.
    pub repo: RepoName,
    /// The digest that its content must match.
    pub digest: Digest,
    /// The media type it was accepted with.
    pub media_type: String,
    /// Its exact bytes.
    pub content: Vec<u8>,
}

/// A live manifest as an export reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveManifest {
    /// Its id, for [`crate::metadata::Metadata::edges_of`].
    pub id: i64,
    /// Its digest.
    pub digest: Digest,
    /// The media type it was accepted with.
    pub media_type: String,
    /// Its exact bytes.
    pub content: Vec<u8>,
    /// When it was first pushed.
    pub pushed_at: Timestamp,
}

/// The target of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The link to a blob.
    Blob(&'a Digest),
    /// A manifest.
    Manifest(&'a Digest),
}

/// A manifest as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRecord {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its exact bytes.
    pub content: Bytes,
    /// When a client with push access last needed it.
    pub leased_at: Timestamp,
    /// When the requested tag was last pushed; `None` if the manifest was requested by digest. The tag keeps
    /// the manifest alive, so no lease is needed.
    pub tagged_at: Option<Timestamp>,
}

/// The kind of a reference from a manifest to a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EdgeKind {
    /// A config, layer or any other blob.
    Blob,
    /// A child manifest.
    Child,
    /// The subject. This is the only kind of edge that keeps its source alive instead of its target.
    Subject,
}

/// A reference from a manifest to a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The digest it refers to.
    pub target: Digest,
    /// The kind of reference.
    pub kind: EdgeKind,
    /// Whether the target must exist for the manifest to be accepted.
    pub required: bool,
    /// The size that the target must have if it exists. `None` accepts any size.
    pub size: Option<u64>,
}

/// The image details that a push records with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushedDetails {
    /// Details from the manifest itself: an index, or an artifact that is not an image.
    Own(ImageDetails),
    /// Details from the image's config. They are recorded once for all manifests with that config.
    Config {
        /// The config.
        digest: Digest,
        /// Its details. `None` if the config was not read because it is recorded already or could not be read.
        details: Option<ImageDetails>,
    },
}

/// A manifest to store.
#[derive(Debug, Clone)]
pub struct PutManifest {
    /// Its repository.
    pub repo: RepoName,
    /// Its digest.
    pub digest: Digest,
    /// Its exact bytes.
    pub content: Vec<u8>,
    /// Its media type.
    pub media_type: String,
    /// The artifact type that a referrers list shows.
    pub artifact_type: Option<String>,
    /// The details of its image.
    pub details: PushedDetails,
    /// Its references: each target and kind once.
    pub edges: Vec<Edge>,
    /// The tags to point at it.
    pub tags: Vec<Tag>,
    /// Whether blobs that were not hashed yet count as missing. They may be damaged, so that a client has to upload
    /// them, but a manifest that was accepted earlier may refer to them.
    pub requires_verified: bool,
    /// When it is stored, and by whom.
    pub change: Change,
}

/// A target whose size differs from the size in the manifest's descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSize {
    /// The target.
    pub digest: Digest,
    /// The size in the descriptor.
    pub claimed: u64,
    /// Its actual size in bytes.
    pub actual: u64,
}

/// The result of storing a [`PutManifest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is stored.
    Stored,
    /// Nothing changed: these required targets do not exist.
    Missing(Vec<(Digest, EdgeKind)>),
    /// Nothing changed: the size of this target differs from its descriptor.
    WrongSize(WrongSize),
    /// Nothing changed: this tag is immutable and points at another manifest.
    Immutable(Tag),
    /// Nothing changed: a quota would be exceeded.
    Refused(OverQuota),
}

/// The result of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// It is deleted.
    Done,
    /// It does not exist.
    Unknown,
    /// Nothing changed: this live manifest references it.
    HeldBy(Digest),
    /// Nothing changed: this immutable tag would be removed.
    Immutable(Tag),
}

/// A manifest in a referrers list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferrerRecord {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// Its annotations, if any.
    pub annotations: Option<Annotations>,
}

/// The maximum total size of the manifests in a page of referrers, not counting the last. The annotations are
/// read from the manifests, and a client may push any number of manifests of several megabytes each.
pub const MAX_REFERRERS_BYTES: u64 = 4 << 20;

/// Totals of the whole registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Number of blobs.
    pub blobs: u64,
    /// Their bytes. A blob counts once.
    pub blob_bytes: u64,
    /// The bytes allocated for them on disk.
    pub blob_allocated: u64,
    /// Number of manifests, including those in the trash.
    pub manifests: u64,
    /// Number of open uploads.
    pub uploads: u64,
    /// Number of keys that no record refers to, whose content is to be deleted.
    pub pending_deletions: u64,
    /// Their bytes.
    pub pending_deletion_bytes: u64,
    /// The bytes allocated for them on disk.
    pub pending_deletion_allocated: u64,
}

/// A quarantined blob. It is absent to all clients until its content is pushed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedBlob {
    /// The key that its content has, or had, in the blob store.
    pub key: BlobKey,
    /// The size it should have in bytes.
    pub size: u64,
    /// The repositories that link it, including hidden links: at most [`MAX_LINKING_REPOSITORIES`].
    pub repos: Vec<RepoName>,
}

impl Weigh for QuarantinedBlob {
    fn weight(&self) -> usize {
        256 + self.repos.iter().map(|repo| repo.as_str().len() + 16).sum::<usize>()
    }
}

/// The result of verifying a blob's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// The content matches the digest.
    Intact,
    /// The content is missing or does not match the digest, for this reason.
    Damaged(String),
}

/// The maximum number of repositories that are listed for a quarantined blob.
pub const MAX_LINKING_REPOSITORIES: usize = 32;
