//! Retention: policies that were set through the API, snapshots for their evaluation, the removals they ask for, pins,
//! and the record of runs. Tags and manifests are removed only if they are unchanged since the policy was evaluated.

use std::time::Duration;

use super::pages::text_weight;
use super::{Change, Weigh};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};
use crate::retention::{Needs, RepoSnapshot};

/// How many policy changes and how many runs are kept.
pub const MAX_POLICY_RECORDS: i64 = 1000;

/// A policy that was set through the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRecord {
    /// Its name.
    pub name: String,
    /// The policy as JSON.
    pub policy: String,
    /// When it was last set.
    pub set_at: Timestamp,
    /// Who set it, if known.
    pub by: Option<String>,
}

/// A change of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// Its position: later changes have larger ids.
    pub id: i64,
    /// The policy's name.
    pub name: String,
    /// The policy after the change, as JSON. `None` if it was removed.
    pub policy: Option<String>,
    /// When it was changed.
    pub at: Timestamp,
    /// Who changed it, if known.
    pub by: Option<String>,
}

impl Weigh for PolicyChange {
    fn weight(&self) -> usize {
        128 + self.name.len() + text_weight(self.policy.as_ref()) + text_weight(self.by.as_ref())
    }
}

/// What started a retention run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunCause {
    /// The regular interval.
    #[default]
    Interval,
    /// A user requested it.
    Request,
    /// The store was nearly full.
    Pressure,
}

/// What policies removed in one run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionRun {
    /// Its position: later runs have larger ids. Assigned by the store.
    pub id: i64,
    /// When it started.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Who requested it, if known.
    pub by: Option<String>,
    /// What started it.
    pub cause: RunCause,
    /// How many tags were removed.
    pub tags: u64,
    /// How many manifests moved to the trash.
    pub manifests: u64,
    /// How many steps were skipped because the object had changed.
    pub skipped: u64,
    /// The bytes that will be freed, if they were computed.
    pub bytes: Option<u64>,
    /// Whether the run stopped at the first change.
    pub stopped: bool,
}

impl Weigh for RetentionRun {
    fn weight(&self) -> usize {
        256 + text_weight(self.by.as_ref())
    }
}

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

/// What a snapshot of a repository should include.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotQuery {
    /// How many different earlier digests to include for each tag.
    pub past: usize,
    /// The image details to include. Others are left out and treated as unknown.
    pub needs: Needs,
}

/// A repository as it was at one moment, as far as the metadata store knows it.
#[derive(Debug, Clone)]
pub struct LoadedSnapshot {
    /// The known data. Indexes have not yet inherited the details of their children.
    pub snapshot: RepoSnapshot,
    /// Configs with more details than are recorded. The requested details stay unknown until these configs are
    /// read.
    pub unread: Vec<UnreadConfig>,
}

/// A config with more details than are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadConfig {
    /// The config.
    pub digest: Digest,
    /// The positions of its images in the snapshot.
    pub manifests: Vec<usize>,
}

/// The maximum size of labels, annotations and platforms in a snapshot in bytes: enough for a million images
/// with one label that rules use. Beyond that, details are unknown, and the images are kept.
pub const MAX_SNAPSHOT_DETAILS: usize = 32 << 20;

/// A manifest that a policy keeps although no tag, index or subject keeps it alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The manifest.
    pub digest: Digest,
    /// Why it is kept, in words for people.
    pub reason: String,
}

/// When policies were last evaluated for all repositories, and which policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationRecord {
    /// Manifests that were unreferenced by this time have their pins.
    pub at: Timestamp,
    /// The fingerprint of the policies.
    pub policies: String,
}
