//! The history of tags, rollback, and restoring removed tags.

use super::pages::text_weight;
use super::{EdgeKind, OverQuota, Weigh};
use crate::clock::Timestamp;
use crate::oci::{Digest, Tag};

/// What happened to a tag, or to a repository as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// A push created it.
    Push,
    /// A push moved it to another manifest.
    Move,
    /// A user removed it.
    Delete,
    /// A policy removed it.
    Expiry,
    /// It was restored.
    Restore,
    /// It was rolled back to an earlier manifest.
    Rollback,
    /// The repository was renamed.
    Rename,
}

/// A row of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its position: later rows have larger ids.
    pub id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub kind: ChangeKind,
    /// The manifest that the tag points at after the change. `None` if the tag was removed.
    pub digest: Option<Digest>,
    /// The manifest that the tag pointed at before.
    pub was: Option<Digest>,
    /// Who made the change, if known.
    pub by: Option<String>,
    /// Why, if a reason was given. For an expiry: the policy and its rule. For a rename: both names.
    pub reason: Option<String>,
}

impl Weigh for HistoryEntry {
    fn weight(&self) -> usize {
        384 + text_weight(self.by.as_ref()) + text_weight(self.reason.as_ref())
    }
}

/// The result of a rollback or of restoring a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagRestoration {
    /// The tag points at the requested manifest.
    Done {
        /// The manifest it pointed at before.
        from: Option<Digest>,
        /// The manifest it points at now.
        to: Digest,
        /// The manifests that were restored from the trash for it.
        restored: Vec<Digest>,
    },
    /// The history has no such tag, or nothing before its current manifest.
    Unknown,
    /// As far as its history goes back, the tag has never pointed at this digest.
    NotInHistory,
    /// The tag exists and points at this manifest.
    InUse(Digest),
    /// The manifest has been purged.
    Gone(Digest),
    /// The manifest is in the trash, and these of its targets are gone.
    Missing(Vec<(Digest, EdgeKind)>),
    /// The tag is immutable.
    Immutable(Tag),
    /// A quota would be exceeded; nothing changed.
    Refused(OverQuota),
}
