//! Explanations of what keeps a manifest or blob alive.

use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// The first items of a kind, and how many there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample<T> {
    /// The first items.
    pub first: Vec<T>,
    /// The total number.
    pub count: u64,
}

/// The state of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestState {
    /// It can be pulled.
    Live,
    /// It was removed and can be restored until this time.
    Trash(Timestamp),
    /// It is being purged and cannot be restored.
    Purging,
}

/// A manifest that keeps another object alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its digest.
    pub digest: Digest,
    /// Its state. A manifest in the trash still keeps its targets alive.
    pub state: ManifestState,
    /// The tags that point at it.
    pub tags: Sample<Tag>,
}

/// A lease, which keeps an object for a manifest that may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// When it ends, if no upload extends it.
    pub until: Timestamp,
    /// Whether an upload extends it that is open or ended less than a lease duration ago.
    pub extended: bool,
}

impl Lease {
    /// Returns when it ends, unless it has ended by `now` and thus keeps nothing.
    pub fn active_until(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.until).filter(|until| *until > now)
    }
}

/// What keeps a manifest alive, and what deleting it would free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestWhy {
    /// Its digest.
    pub digest: Digest,
    /// Its state.
    pub state: ManifestState,
    /// The tags that point at it.
    pub tags: Sample<Tag>,
    /// The indexes that list it.
    pub indexes: Sample<Holder>,
    /// Its subject, if that exists. The manifest lives as long as its subject.
    pub subjects: Vec<Holder>,
    /// Whether it was adopted and is not released: then only users may remove it.
    pub unreleased: bool,
    /// The lease on it.
    pub lease: Lease,
    /// When it was last pulled, if ever.
    pub pulled_at: Option<Timestamp>,
    /// The earliest time of its next review, if it is in the review queue.
    pub review: Option<Timestamp>,
    /// The bytes on disk that deleting it would free, with everything that only it keeps alive.
    pub frees: u64,
}

/// What keeps a blob in one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkWhy {
    /// The repository.
    pub repo: RepoName,
    /// The manifests there that reference it.
    pub manifests: Sample<Holder>,
    /// The lease on it.
    pub lease: Lease,
    /// Until when it can be unhidden, if it was deleted there.
    pub hidden_until: Option<Timestamp>,
    /// The earliest time of its next review, if it is in the review queue.
    pub review: Option<Timestamp>,
}

/// What keeps a blob alive. It is removed with the last repository that links it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobWhy {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// The bytes allocated on disk, which deleting it would free unless another registry's tree has the file too.
    pub allocated: u64,
    /// Whether another registry's tree has its file too.
    pub hardlinked: bool,
    /// Whether it is quarantined because its content is damaged.
    pub damaged: bool,
    /// The repositories that link it.
    pub repositories: Sample<LinkWhy>,
}
