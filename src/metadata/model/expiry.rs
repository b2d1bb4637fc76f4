//! Removal of tags and manifests by retention policies, only if they are unchanged since the policy was
//! evaluated.

use std::time::Duration;

use super::Change;
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// A tag to remove, as it was when the policy was evaluated.
#[derive(Debug, Clone)]
pub struct ExpireTag {
    /// Its repository.
    pub repo: RepoName,
    /// The tag.
    pub tag: Tag,
    /// The manifest it pointed at.
    pub digest: Digest,
    /// When it had been pushed.
    pub updated_at: Timestamp,
    /// If set, removes the tag only if the manifest, its children and the indexes that list it were not pulled
    /// at or after this time.
    pub pulled_before: Option<Timestamp>,
    /// If set, removes the tag only if nothing keeps this manifest alive. The tag attaches a signature or
    /// similar to it by spelling its digest.
    pub attached_to: Option<Digest>,
    /// The lease duration. The last tag of a manifest stays, and so does the manifest, if a client with push
    /// access has checked for the manifest within this time.
    pub lease: Duration,
    /// The time, and the policy and rule as the reason.
    pub change: Change,
}

/// An untagged manifest to remove, as it was when the policy was evaluated.
#[derive(Debug, Clone)]
pub struct ExpireManifest {
    /// Its repository.
    pub repo: RepoName,
    /// Its digest.
    pub digest: Digest,
    /// When it was pushed without a tag or lost its last tag.
    pub alone_at: Timestamp,
    /// If set, removes it only if it, its children and the indexes that list it were not pulled at or after
    /// this time.
    pub pulled_before: Option<Timestamp>,
    /// The lease duration. A manifest that a client with push access has checked for within this time stays for
    /// the index that may follow.
    pub lease: Duration,
    /// Whether a pin keeps it.
    pub pin: PinHolds,
    /// The time, and the policy and rule as the reason.
    pub change: Change,
}

/// Whether a pin protects a manifest from being removed by a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinHolds {
    /// The pin protects it: a rule may have pinned it since the evaluation.
    Yes,
    /// The pin is ignored and removed with the manifest: it comes from a rule that is suspended while the store
    /// is nearly full.
    No,
}

/// The result of an expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// It was removed.
    Done {
        /// Whether the manifest moved to the trash because nothing else kept it alive.
        removed_manifest: bool,
    },
    /// Nothing changed: the object differs from what was evaluated, something keeps it alive, a client may
    /// still need it for a push, or it is immutable.
    Changed,
}
