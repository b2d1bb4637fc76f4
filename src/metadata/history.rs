//! The history of tags, rollback, and restoring removed tags.

use async_trait::async_trait;

use super::pages::text_weight;
use super::{Batch, Change, EdgeKind, OverQuota, Page, Result, Weigh};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

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

/// The history of tags.
#[async_trait]
pub trait History: Send + Sync {
    /// Returns a page of a tag's history, newest first, before the row `before`. Without a tag: the history of
    /// the repository itself (deleted, restored, renamed). The history of a tag outlives the tag.
    async fn tag_history(
        &self,
        repo: &RepoName,
        tag: Option<&Tag>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>>;

    /// Points a tag at the manifest it had before its last change, or at `to` from its history. A manifest in
    /// the trash is restored with everything it requires.
    async fn rollback(
        &self,
        repo: &RepoName,
        tag: &Tag,
        to: Option<&Digest>,
        change: &Change,
    ) -> Result<TagRestoration>;

    /// Restores a removed tag together with its manifest.
    async fn restore_tag(&self, repo: &RepoName, tag: &Tag, change: &Change) -> Result<TagRestoration>;

    /// Deletes the history of tags up to their removal if they were removed at or before `cutoff`. Handles
    /// about `limit` tags.
    async fn forget_history(&self, cutoff: Timestamp, limit: usize) -> Result<Batch>;

    /// Records, lazily, pushes of tags that changed nothing. Skips a tag that points at another manifest by
    /// now.
    async fn record_pushes(&self, pushes: Vec<(RepoName, Tag, Digest, Timestamp)>) -> Result<()>;
}
