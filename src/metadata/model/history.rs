//! The history of tags and repositories, the trash, and what restores from them.

use super::pages::text_weight;
use super::{EdgeKind, OverQuota, Weigh};
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

/// Selects changes of tags and repositories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeQuery {
    /// Only changes in this repository.
    pub repository: Option<RepoName>,
    /// Only changes of this kind.
    pub kind: Option<ChangeKind>,
    /// Only changes before this position.
    pub before: Option<i64>,
}

/// A change of a tag, or of a repository as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentChange {
    /// The repository.
    pub repo: RepoName,
    /// The tag; `None` if the change is about the repository as a whole.
    pub tag: Option<Tag>,
    /// What happened.
    pub entry: HistoryEntry,
}

/// A page of changes, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentChanges {
    /// The changes. A page may be short or empty although more follow.
    pub items: Vec<RecentChange>,
    /// The position before which more may follow.
    pub next: Option<i64>,
}

/// A tag that was pushed lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentPush {
    /// Its repository.
    pub repo: RepoName,
    /// The tag.
    pub tag: Tag,
    /// The manifest that it points at.
    pub digest: Digest,
    /// When it was last pushed, moved or restored.
    pub at: Timestamp,
    /// How it came to point at this manifest. `None` if its history was removed.
    pub kind: Option<ChangeKind>,
    /// Who made it point at this manifest, if known.
    pub by: Option<String>,
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
    pub tags_in_use: Vec<Tag>,
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

/// The result of renaming a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renaming {
    /// It was renamed.
    Done,
    /// There is no repository of the old name, or it is empty.
    Unknown,
    /// The repository of the new name is not empty, or is being deleted or restored.
    Occupied,
    /// The trash has manifests under the new name, which could then no longer be restored there.
    InTrash,
    /// The repository is being deleted or restored.
    Busy,
    /// This tag is immutable and would disappear from the old name.
    Immutable(Tag),
    /// The repository would exceed a quota under the new name; nothing changed.
    Refused(OverQuota),
}

/// A repository that is being deleted or restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryWork {
    /// The repository.
    pub repo: RepoName,
    /// Delete or restore.
    pub kind: ChangeKind,
    /// The id of the deletion, or of the deletion that is being undone.
    pub removal: i64,
    /// Number of manifests at the start.
    pub total: u64,
    /// How many have been removed or restored.
    pub done: u64,
    /// How many stay as they are, because a target is missing or because an immutable tag or a new index keeps
    /// them.
    pub failed: u64,
}

/// The result of one step of deleting or restoring a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryStep {
    /// The progress.
    pub work: RepositoryWork,
    /// Whether this was the last step.
    pub finished: bool,
    /// Tags that were not restored because they are in use again.
    pub tags_in_use: Vec<Tag>,
    /// Missing targets of manifests that could not be restored.
    pub missing: Vec<(Digest, EdgeKind)>,
}

/// Repositories in which tags have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRepositories {
    /// The id of the last change that is covered.
    pub last: i64,
    /// The repositories, each once.
    pub names: Vec<RepoName>,
}
