//! What is recorded, as the use cases see it.

use std::time::Duration;

use bytes::Bytes;

use super::{Change, OverQuota};
use crate::clock::Timestamp;
use crate::oci::{Algorithm, Annotations, BlobKey, Digest, ImageDetails, RepoName, Tag, UploadId};

/// How far an upload has come: bytes that are durable, and the hash state behind the last of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes.
    pub offset: u64,
    /// [`crate::oci::Hasher::save`] of those bytes; empty for none.
    pub hash_state: Vec<u8>,
}

/// The end of an upload. It extends the leases that ran when the upload began to itself and one more lease,
/// so that a push that takes longer than a lease finds all that it was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadEnd {
    /// When.
    pub now: Timestamp,
    /// The setting: how long a lease is.
    pub lease: Duration,
    /// The shortest that a lease may be made: how exactly it matters when the upload began and ended.
    pub shortest: Duration,
}

/// The clock was wrong and has been put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockJump {
    /// From when,
    pub from: Timestamp,
    /// and until when, by itself.
    pub until: Timestamp,
    /// By how much it was behind.
    pub by: Duration,
}

/// A lease to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// Now.
    pub now: Timestamp,
    /// Only if it was last leased at this time or before.
    pub stale: Timestamp,
    /// Also while a tag holds the target.
    pub tagged: bool,
    /// Also while something else holds it.
    pub held: bool,
}

/// An upload in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// Its id.
    pub id: UploadId,
    /// What its bytes are hashed with.
    pub algorithm: Algorithm,
    /// What a restart can go on from.
    pub progress: Progress,
    /// The place that its bytes are about to become or, after a crash, may have become.
    pub intent: Option<BlobKey>,
    /// When it was last heard of.
    pub touched_at: Timestamp,
}

/// Whose an upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPlace {
    /// The repository.
    pub repo: RepoName,
    /// How many of its bytes are durable and recorded.
    pub offset: u64,
}

/// A blob as a repository serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRecord {
    /// Where its bytes are.
    pub key: BlobKey,
    /// Bytes.
    pub size: u64,
    /// When it was last wanted by somebody who may push.
    pub leased_at: Timestamp,
}

/// A blob as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// Where its bytes are.
    pub key: BlobKey,
    /// Bytes.
    pub size: u64,
    /// Its bytes were found missing or not to hash to its digest.
    pub damaged: bool,
    /// What the medium spends on it, in bytes, if that was measured.
    pub allocated: Option<u64>,
}

/// How big a blob is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlobSize {
    /// As it was pushed.
    pub logical: u64,
    /// As the medium spends it.
    pub allocated: u64,
}

/// What became of a new upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadCreation {
    /// It is recorded.
    Created,
    /// Its repository is new, and would pass a quota; nothing changed.
    Refused(OverQuota),
}

/// What became of an upload that was to be a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// It is one.
    Done,
    /// The upload is no more; nothing changed.
    Unknown,
    /// It would pass a quota; nothing changed.
    Refused(OverQuota),
}

/// What became of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// The repository serves the blob.
    Done(BlobRecord),
    /// There is no such blob.
    Missing,
    /// It would pass a quota; nothing changed.
    Refused(OverQuota),
}

/// A manifest as `fsck` sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its place in the order of [`super::Maintenance::manifests_after`].
    pub id: i64,
    /// Whose it is.
    pub repo: RepoName,
    /// What its bytes must hash to.
    pub digest: Digest,
    /// The media type that it was accepted with.
    pub media_type: String,
    /// Its exact bytes.
    pub content: Vec<u8>,
}

/// What a lease is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A blob's link.
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
    /// When it was last wanted by somebody who may push.
    pub leased_at: Timestamp,
    /// When the request's own tag was last pushed; `None` where it was asked for by its digest. The tag holds
    /// it, so that no lease is needed.
    pub tagged_at: Option<Timestamp>,
}

/// What an edge points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EdgeKind {
    /// A config, layer, or any other blob.
    Blob,
    /// A child manifest.
    Child,
    /// The subject: the one kind of edge that holds its source instead of its target.
    Subject,
}

/// That a manifest refers to a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// What it refers to.
    pub target: Digest,
    /// As what.
    pub kind: EdgeKind,
    /// Whether the target must be there for the manifest to be accepted.
    pub required: bool,
    /// How many bytes the target must have if it is there. `None`: any number.
    pub size: Option<u64>,
}

/// What a push records of the image behind a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushedDetails {
    /// What the manifest says itself: an index, or an artifact, which is no image.
    Own(ImageDetails),
    /// What an image's config says. It is recorded once, however many manifests have that config.
    Config {
        /// The config.
        digest: Digest,
        /// What it says. `None` if it was not read: it is recorded already, or could not be.
        details: Option<ImageDetails>,
    },
}

/// A manifest to be stored.
#[derive(Debug, Clone)]
pub struct PutManifest {
    /// Where.
    pub repo: RepoName,
    /// Its digest.
    pub digest: Digest,
    /// Its exact bytes.
    pub content: Vec<u8>,
    /// Its media type.
    pub media_type: String,
    /// What a referrers list shows as its artifact type.
    pub artifact_type: Option<String>,
    /// What its image is for.
    pub details: PushedDetails,
    /// What it refers to: each target and kind once.
    pub edges: Vec<Edge>,
    /// Tags to point at it.
    pub tags: Vec<Tag>,
    /// Now, and who puts it.
    pub change: Change,
}

/// A target whose size is not what an edge says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSize {
    /// The target.
    pub digest: Digest,
    /// What the edge says.
    pub claimed: u64,
    /// How many bytes it has.
    pub actual: u64,
}

/// What became of a [`PutManifest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is stored.
    Stored,
    /// Nothing changed: these required targets are absent.
    Missing(Vec<(Digest, EdgeKind)>),
    /// Nothing changed: this target has not the size that its edge says.
    WrongSize(WrongSize),
    /// Nothing changed: this tag is immutable, and points at something else.
    Fixed(Tag),
    /// Nothing changed: it would pass a quota.
    Refused(OverQuota),
}

/// What became of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone.
    Done,
    /// There was no such thing.
    Unknown,
    /// This live manifest holds it; nothing changed.
    HeldBy(Digest),
    /// This immutable tag would be taken away; nothing changed.
    Fixed(Tag),
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
    /// Its annotations, if it has any.
    pub annotations: Option<Annotations>,
}

/// How many bytes the manifests of a page of referrers may have together, all but the last: their annotations are
/// read from them, and a client may push any number of manifests of some megabytes each.
pub const MAX_REFERRERS_BYTES: u64 = 4 << 20;

/// Totals over everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Blobs recorded.
    pub blobs: u64,
    /// Their bytes, each blob once.
    pub blob_bytes: u64,
    /// What the medium spends on them, in bytes.
    pub blob_allocated: u64,
    /// Manifests recorded, those in the trash included.
    pub manifests: u64,
    /// Uploads open.
    pub uploads: u64,
    /// Keys that no record names, whose bytes are to be removed.
    pub doomed: u64,
    /// Their bytes.
    pub doomed_bytes: u64,
    /// What the medium spends on them, in bytes.
    pub doomed_allocated: u64,
}
