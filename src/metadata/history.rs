//! What became of tags, and the way back.

use async_trait::async_trait;

use super::pages::text_weight;
use super::{Batch, Change, EdgeKind, OverQuota, Page, Result, Weigh};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// What happened to a tag, or to a repository as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was made by a push.
    Push,
    /// A push pointed it at something else.
    Move,
    /// Somebody took it away.
    Delete,
    /// A policy took it away.
    Expiry,
    /// It came back.
    Restore,
    /// It was pointed back.
    Rollback,
    /// The repository got another name.
    Rename,
}

/// A row of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Its place: later rows have larger ones.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub kind: ChangeKind,
    /// What the tag has pointed at since; `None` where it was taken away.
    pub digest: Option<Digest>,
    /// What it pointed at before.
    pub was: Option<Digest>,
    /// By whom, if that is known.
    pub by: Option<String>,
    /// Why, if that was told: for an expiry the policy and its rule, for a rename the two names.
    pub reason: Option<String>,
}

impl Weigh for HistoryEntry {
    fn weight(&self) -> usize {
        384 + text_weight(self.by.as_ref()) + text_weight(self.reason.as_ref())
    }
}

/// What became of the wish to point a tag at something that it pointed at before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagReturn {
    /// It points there.
    Done {
        /// What it pointed at before.
        from: Option<Digest>,
        /// What it points at now.
        to: Digest,
        /// The manifests that came back from the trash for it.
        restored: Vec<Digest>,
    },
    /// There is no such tag in the history, or nothing before what it points at.
    Unknown,
    /// The tag never pointed at this digest, as far as its history goes back.
    NotInHistory,
    /// The tag is there, and points at this.
    InUse(Digest),
    /// The manifest is gone for good.
    Gone(Digest),
    /// The manifest is in the trash, and these of its targets are gone.
    Missing(Vec<(Digest, EdgeKind)>),
    /// The tag is immutable.
    Fixed(Tag),
    /// It would pass a quota; nothing changed.
    Refused(OverQuota),
}

/// The history of tags.
#[async_trait]
pub trait History: Send + Sync {
    /// A page of a tag's history, or of the repository's own (deleted, restored, renamed) for no
    /// tag: the newest before the row `before`, newest first. The history of a tag outlives it.
    async fn tag_history(
        &self,
        repo: &RepoName,
        tag: Option<&Tag>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>>;

    /// Points a tag at what it pointed at before its last change, or at `to` out of its history. A manifest
    /// that is in the trash comes back with all that it needs.
    async fn rollback(
        &self,
        repo: &RepoName,
        tag: &Tag,
        to: Option<&Digest>,
        change: &Change,
    ) -> Result<TagReturn>;

    /// Brings a tag back that was taken away, and with it its manifest.
    async fn restore_tag(&self, repo: &RepoName, tag: &Tag, change: &Change) -> Result<TagReturn>;

    /// Forgets the history of tags up to their removal, where that was at `cutoff` or before: of about `limit`
    /// tags.
    async fn forget_history(&self, cutoff: Timestamp, limit: usize) -> Result<Batch>;

    /// Records, lazily, that tags were pushed without a change: a pusher looked and found them as they should
    /// be. One that points at something else by now stays as it is.
    async fn note_pushes(&self, pushes: Vec<(RepoName, Tag, Digest, Timestamp)>) -> Result<()>;
}
