//! Why something is there.

use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// Some of a kind by name, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample<T> {
    /// The first of them.
    pub first: Vec<T>,
    /// How many there are in all.
    pub count: u64,
}

/// How far a manifest has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestState {
    /// It can be pulled.
    Live,
    /// It was removed, and can be brought back until then.
    Trash(Timestamp),
    /// It is on its way out, for good.
    Purging,
}

/// A manifest that holds something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which.
    pub digest: Digest,
    /// How far it has come: what is in the trash goes on holding.
    pub state: ManifestState,
    /// The tags that point at it.
    pub tags: Sample<Tag>,
}

/// What keeps something for the manifest that may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Until when, if no upload extends it.
    pub until: Timestamp,
    /// Whether an upload extends it that is open, or ended less than a lease ago.
    pub extended: bool,
}

/// What keeps a manifest, and what would come free without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestWhy {
    /// Which.
    pub digest: Digest,
    /// How far it has come.
    pub state: ManifestState,
    /// The tags that point at it.
    pub tags: Sample<Tag>,
    /// The indexes that list it.
    pub indexes: Sample<Holder>,
    /// What it is about, if that is there: it lives as long.
    pub subjects: Vec<Holder>,
    /// The lease on it.
    pub lease: Lease,
    /// When it was last pulled, if ever.
    pub pulled_at: Option<Timestamp>,
    /// When it is looked at next, at the earliest, if it waits for that.
    pub review: Option<Timestamp>,
    /// What the medium would get back, in bytes, with it and with what only it holds.
    pub frees: u64,
}

/// How a repository has a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobKept {
    /// Which repository.
    pub repo: RepoName,
    /// The manifests that hold it there.
    pub manifests: Sample<Holder>,
    /// The lease on it.
    pub lease: Lease,
    /// Until when it can be unhidden, if it was deleted there.
    pub hidden_until: Option<Timestamp>,
    /// When it is looked at next, at the earliest, if it waits for that.
    pub review: Option<Timestamp>,
}

/// What keeps a blob. It goes with the last repository that links it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobWhy {
    /// Which.
    pub digest: Digest,
    /// Bytes.
    pub bytes: u64,
    /// What the medium spends on it, and would get back, in bytes.
    pub allocated: u64,
    /// Its bytes were found to be damaged.
    pub damaged: bool,
    /// The repositories that link it.
    pub repositories: Sample<BlobKept>,
}
