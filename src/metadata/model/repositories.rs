//! Renaming, deleting and restoring whole repositories.

use super::{ChangeKind, EdgeKind, OverQuota};
use crate::oci::{Digest, RepoName, Tag};

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
    pub taken: Vec<Tag>,
    /// Missing targets of manifests that could not be restored.
    pub missing: Vec<(Digest, EdgeKind)>,
}
