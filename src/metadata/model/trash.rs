//! The trash: removed manifests and tags that can be restored.

use super::pages::text_weight;
use super::{ChangeKind, EdgeKind, OverQuota, Weigh};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// The end of a page of the trash; the next page starts after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrashCursor {
    /// When the last entry was removed.
    pub removed_at: Timestamp,
    /// Distinguishes entries that were removed at the same moment.
    pub id: i64,
}

/// A page of the trash, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashPage<T> {
    /// The entries. A page may be short or empty although more follow.
    pub items: Vec<T>,
    /// Where the page ends, if more may follow.
    pub next: Option<TrashCursor>,
}

/// A tag that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostTag {
    /// The tag.
    pub tag: Tag,
    /// Delete or expiry.
    pub kind: ChangeKind,
    /// Who removed it, if known.
    pub by: Option<String>,
    /// Why, if a reason was given.
    pub reason: Option<String>,
}

/// A manifest in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedManifest {
    /// Its repository.
    pub repo: RepoName,
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its own size in bytes.
    pub size: u64,
    /// When it was removed. The trash time starts here.
    pub removed_at: Timestamp,
    /// Distinguishes entries that were removed at the same moment.
    pub id: i64,
    /// The tags that were removed with it: at most one hundred.
    pub tags: Vec<LostTag>,
}

/// A removed tag whose manifest is still live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedTag {
    /// Its repository.
    pub repo: RepoName,
    /// The manifest it pointed at.
    pub digest: Digest,
    /// When it was removed.
    pub removed_at: Timestamp,
    /// Distinguishes entries that were removed at the same moment.
    pub id: i64,
    /// The tag, and how and why it was removed.
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

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// The requested manifest, its children that were in the trash, and manifests attached to these.
    pub manifests: Vec<Digest>,
    /// The tags removed with it, and the tags that attach other manifests.
    pub tags: Vec<Tag>,
    /// Tags that were not restored because they are in use again.
    pub taken: Vec<Tag>,
}

/// The result of restoring a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restoration {
    /// It is restored completely.
    Done(Restored),
    /// It is not in the trash: it is live, purged, or never existed.
    Unknown,
    /// Nothing changed: these targets of the manifest or of its children are gone.
    Missing(Vec<(Digest, EdgeKind)>),
    /// Nothing changed: its tags would exceed a quota.
    Refused(OverQuota),
}
