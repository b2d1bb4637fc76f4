//! What was removed and can be brought back.

use async_trait::async_trait;

use super::pages::text_weight;
use super::{Batch, Change, ChangeKind, EdgeKind, OverQuota, Result, Weigh};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// Where a page of the trash ends: the next one begins behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrashCursor {
    /// When the last one was removed.
    pub removed_at: Timestamp,
    /// Which of those of that moment it is.
    pub id: i64,
}

/// A page of the trash, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashPage<T> {
    /// What is on it. It may be short, or empty, though more follow.
    pub items: Vec<T>,
    /// Where it ends, if more may follow.
    pub next: Option<TrashCursor>,
}

/// A tag that was taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostTag {
    /// Which.
    pub tag: Tag,
    /// How: delete or expiry.
    pub kind: ChangeKind,
    /// By whom, if that is known.
    pub by: Option<String>,
    /// Why, if that was told.
    pub reason: Option<String>,
}

/// A manifest in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedManifest {
    /// Whose.
    pub repo: RepoName,
    /// Which.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its own size in bytes.
    pub size: u64,
    /// When it was removed: the trash time counts from then.
    pub removed_at: Timestamp,
    /// Which of those of that moment it is.
    pub id: i64,
    /// Tags that were taken away with it: the first hundred.
    pub tags: Vec<LostTag>,
}

/// A tag that was taken away while its manifest lives on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedTag {
    /// Whose.
    pub repo: RepoName,
    /// What it pointed at.
    pub digest: Digest,
    /// When it was taken away.
    pub removed_at: Timestamp,
    /// Which of those of that moment it is.
    pub id: i64,
    /// Which, how and why.
    pub lost: LostTag,
}

impl LostTag {
    fn weight(&self) -> usize {
        96 + self.tag.as_str().len() + text_weight(self.by.as_ref()) + text_weight(self.reason.as_ref())
    }
}

impl Weigh for RemovedManifest {
    fn weight(&self) -> usize {
        let tags: usize = self.tags.iter().map(LostTag::weight).sum();
        384 + self.repo.as_str().len() + self.media_type.len() + tags
    }
}

impl Weigh for RemovedTag {
    fn weight(&self) -> usize {
        384 + self.repo.as_str().len() + self.lost.weight()
    }
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Manifests: the one that was asked for, children that were in the trash too, and what is attached to these.
    pub manifests: Vec<Digest>,
    /// Tags: those that went with it, and those by which something is attached.
    pub tags: Vec<Tag>,
    /// Tags that stay as they are, for they were used again meanwhile.
    pub taken: Vec<Tag>,
}

/// What became of the wish to bring a manifest back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restoration {
    /// It is back, whole.
    Done(Restored),
    /// It is not in the trash: live, gone for good, or never there.
    Unknown,
    /// Nothing changed: these targets, of it or of its children, are gone.
    Missing(Vec<(Digest, EdgeKind)>),
    /// Its tags would pass a quota; nothing changed.
    Refused(OverQuota),
}

/// The trash.
#[async_trait]
pub trait Trash: Send + Sync {
    /// Up to `limit` manifests in the trash, of `repo` or of all.
    async fn removed_manifests(
        &self,
        repo: Option<&RepoName>,
        after: Option<TrashCursor>,
        limit: usize,
    ) -> Result<TrashPage<RemovedManifest>>;

    /// Up to `limit` tags, of `repo` or of all, that were taken away, have not been used since, and whose
    /// manifest lives.
    async fn removed_tags(
        &self,
        repo: Option<&RepoName>,
        after: Option<TrashCursor>,
        limit: usize,
    ) -> Result<TrashPage<RemovedTag>>;

    /// Brings a manifest back, with the tags that were taken away with it and children that are in the trash
    /// too. All that they refer to is checked as when a manifest is put again. What was attached to them by tags
    /// that spell their digests comes back with them if a policy took it behind them, or the same deletion of
    /// their repository, and if it is whole.
    async fn restore_manifest(
        &self,
        repo: &RepoName,
        digest: &Digest,
        change: &Change,
    ) -> Result<Restoration>;

    /// Up to `limit` manifests in the trash, the oldest first.
    async fn oldest_trash(&self, limit: usize) -> Result<Vec<(RepoName, Digest)>>;

    /// Lets the purge take up to `limit` manifests, the oldest first, of `repo` or of all, that were removed at `cutoff` or before.
    async fn empty_trash(&self, repo: Option<&RepoName>, cutoff: Timestamp, limit: usize) -> Result<Batch>;
}
