//! Renaming, deleting and restoring whole repositories.

use async_trait::async_trait;

use super::{Change, ChangeKind, EdgeKind, OverQuota, Result};
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

/// Deletes, restores and renames repositories.
#[async_trait]
pub trait RepositoryChanges: Send + Sync {
    /// Renames a repository with everything in it. Open uploads stay under the name that their clients know. An
    /// empty repository of the new name takes the old name, so that its history is not lost and renaming back
    /// undoes everything.
    async fn rename_repository(&self, from: &RepoName, to: &RepoName, change: &Change) -> Result<Renaming>;

    /// Starts moving every manifest of a repository to the trash. Content pushed from now on stays. Returns
    /// `None` if the repository is empty. Continues a deletion that was started already.
    async fn start_deletion(&self, repo: &RepoName, change: &Change) -> Result<Option<RepositoryWork>>;

    /// Starts restoring what the last deletion of a repository removed, or the deletion `removal`. Returns
    /// `None` if nothing of it is in the trash.
    async fn start_restoration(
        &self,
        repo: &RepoName,
        removal: Option<i64>,
        change: &Change,
    ) -> Result<Option<RepositoryWork>>;

    /// Returns up to `limit` repositories that are being deleted or restored.
    async fn repository_work(&self, limit: usize) -> Result<Vec<RepositoryWork>>;

    /// Runs the next step, of about `limit` manifests. Returns `None` if the repository is not being deleted or
    /// restored. Who requested the work and why was recorded at the start.
    async fn advance_repository(
        &self,
        repo: &RepoName,
        limit: usize,
        change: &Change,
    ) -> Result<Option<RepositoryStep>>;

    /// Examines up to `limit` repositories after the position `after` (0 to start) and deletes the records of
    /// those that are empty and have no history. Returns the position reached (`None` at the end) and how many
    /// records it deleted.
    async fn forget_repositories(&self, after: i64, limit: usize) -> Result<(Option<i64>, u64)>;
}
