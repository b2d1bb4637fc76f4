//! The removal of tags and manifests by retention policies. They are removed only if they are unchanged since the
//! policy was evaluated.

use std::time::Duration;

use super::Change;
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// A tag to remove, with its state when the policy was evaluated.
#[derive(Debug, Clone)]
pub struct TagExpiry {
    /// The repository of the tag.
    pub repo: RepoName,
    /// The tag.
    pub tag: Tag,
    /// The manifest it pointed at.
    pub digest: Digest,
    /// When the tag was last pushed or moved.
    pub updated_at: Timestamp,
    /// If set, removes the tag only if the manifest, its children and the indexes that list it were not pulled
    /// at or after this time.
    pub pulled_before: Option<Timestamp>,
    /// If set, removes the tag only if nothing keeps this manifest alive: the tag names the manifest's digest, to
    /// attach a signature or similar to it (as cosign does).
    pub attached_to: Option<Digest>,
    /// The lease duration. If a client with push access has checked for the manifest within this time, the
    /// manifest and its last tag stay.
    pub lease: Duration,
    /// The time of the removal, and its reason: the policy and the rule.
    pub change: Change,
}

/// An untagged manifest to remove, with its state when the policy was evaluated.
#[derive(Debug, Clone)]
pub struct ManifestExpiry {
    /// The repository of the manifest.
    pub repo: RepoName,
    /// The digest of the manifest.
    pub digest: Digest,
    /// When it was pushed without a tag or lost its last tag.
    pub alone_at: Timestamp,
    /// If set, removes the manifest only if it, its children and the indexes that list it were not pulled at or
    /// after this time.
    pub pulled_before: Option<Timestamp>,
    /// The lease duration. If a client with push access has checked for the manifest within this time, it stays,
    /// because the client may be about to push an index that lists it.
    pub lease: Duration,
    /// Whether a pin of a retention rule keeps the manifest.
    pub pin: PinEffect,
    /// The time of the removal, and its reason: the policy and the rule.
    pub change: Change,
}

/// Whether a pin keeps a manifest that a policy would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinEffect {
    /// The manifest stays: a rule may have pinned it since the evaluation.
    Protects,
    /// The pin is removed with the manifest: it comes from a rule that is suspended while the store is nearly full.
    Ignored,
}

/// What became of a tag or manifest that a policy was to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiryOutcome {
    /// The tag or manifest was removed.
    Removed {
        /// Whether the manifest moved to the trash because nothing else kept it alive.
        removed_manifest: bool,
    },
    /// It was not removed: it differs from the state that was evaluated, something keeps it alive, a client may still
    /// need it for a push, or it is immutable.
    Skipped,
}
