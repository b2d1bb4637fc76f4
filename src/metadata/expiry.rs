//! What a policy takes away, compared with what it was judged by.

use std::time::Duration;

use async_trait::async_trait;

use super::{Change, Result};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// A tag to be taken away, as it was when that was decided.
#[derive(Debug, Clone)]
pub struct ExpireTag {
    /// Whose.
    pub repo: RepoName,
    /// Which.
    pub tag: Tag,
    /// What it pointed at.
    pub digest: Digest,
    /// When it had been pushed.
    pub updated_at: Timestamp,
    /// Only if the manifest, its children and the indexes that list it have not been pulled at this time or
    /// later.
    pub pulled_before: Option<Timestamp>,
    /// Only if nothing holds this manifest, to which it is attached by its name.
    pub attached_to: Option<Digest>,
    /// How long a lease is: the last tag of a manifest that a pusher was told to be there since its push stays, and
    /// so does that.
    pub lease: Duration,
    /// Now, and the policy and rule as the reason.
    pub change: Change,
}

/// A manifest without a tag to be taken away, as it was when that was decided.
#[derive(Debug, Clone)]
pub struct ExpireManifest {
    /// Whose.
    pub repo: RepoName,
    /// Which.
    pub digest: Digest,
    /// When it had been put without a tag, or had lost one.
    pub alone_at: Timestamp,
    /// Only if it, its children and the indexes that list it have not been pulled at this time or later.
    pub pulled_before: Option<Timestamp>,
    /// How long a lease is: a manifest that a pusher was told to be there stays for the index that may follow.
    pub lease: Duration,
    /// Whether a pin holds it.
    pub pin: PinHolds,
    /// Now, and the policy and rule as the reason.
    pub change: Change,
}

/// Whether a pin holds what a policy lets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinHolds {
    /// It does: some rule may have pinned it since that was decided.
    Yes,
    /// It does not, and goes along: it is of a rule that is not in force while the store is nearly full.
    No,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// It is done.
    Done {
        /// Whether the manifest went to the trash: nothing else held it.
        removed_manifest: bool,
    },
    /// Nothing changed: it is not what it was, or something holds it, or a pusher may come back for it, or it is
    /// immutable.
    Changed,
}

/// The steps of retention.
#[async_trait]
pub trait Expiry: Send + Sync {
    /// Takes a tag away, and its manifest with it unless a tag, a live index, a pin or a live subject holds that. A
    /// lease holds both.
    async fn expire_tag(&self, expiry: ExpireTag) -> Result<Expired>;

    /// Takes a manifest away that nothing holds.
    async fn expire_manifest(&self, expiry: ExpireManifest) -> Result<Expired>;
}
