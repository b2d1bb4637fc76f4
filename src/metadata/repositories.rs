//! Changes to repositories as a whole.

use async_trait::async_trait;

use super::{Change, ChangeKind, EdgeKind, OverQuota, Result};
use crate::oci::{Digest, RepoName, Tag};

/// What became of a renaming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renaming {
    /// It is done.
    Done,
    /// There is no repository of the old name, or nothing in it.
    Unknown,
    /// There is something in the repository of the new name, or something is being done to it.
    Occupied,
    /// Under the new name something is in the trash, which could not be brought back there any more.
    InTrash,
    /// The repository is being deleted or restored.
    Busy,
    /// This tag is immutable, and would be gone from the old name.
    Fixed(Tag),
    /// What the repository uses would pass a quota under the new name; nothing changed.
    Refused(OverQuota),
}

/// A repository that is being deleted or restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryWork {
    /// Which.
    pub repo: RepoName,
    /// Delete or restore.
    pub kind: ChangeKind,
    /// Which deletion it is, or undoes.
    pub removal: i64,
    /// How many manifests there were when it began.
    pub total: u64,
    /// How many of them have been taken away or brought back.
    pub done: u64,
    /// How many stay as they are: they lack something, or an immutable tag or a new index holds them.
    pub failed: u64,
}

/// What a step of it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryStep {
    /// How far it is.
    pub work: RepositoryWork,
    /// Whether that was the last.
    pub finished: bool,
    /// Tags that were used again meanwhile and stay as they are.
    pub taken: Vec<Tag>,
    /// What manifests that did not come back lack.
    pub missing: Vec<(Digest, EdgeKind)>,
}

/// Deletes, restores and renames repositories.
#[async_trait]
pub trait RepositoryChanges: Send + Sync {
    /// Gives a repository another name; everything in it comes along. Uploads in progress stay with the name
    /// that their clients know. An emptied repository of the new name takes the old one, so that its history is not
    /// lost, and renaming back undoes everything.
    async fn rename_repository(&self, from: &RepoName, to: &RepoName, change: &Change) -> Result<Renaming>;

    /// Begins to move every manifest of a repository to the trash. What is pushed from now on stays. `None` if
    /// there is nothing in it. One that has begun goes on.
    async fn begin_deletion(&self, repo: &RepoName, change: &Change) -> Result<Option<RepositoryWork>>;

    /// Begins to bring back what the last deletion of a repository (or that one) took away. `None` if nothing
    /// of that is in the trash.
    async fn begin_restoration(
        &self,
        repo: &RepoName,
        removal: Option<i64>,
        change: &Change,
    ) -> Result<Option<RepositoryWork>>;

    /// Up to `limit` repositories that are being deleted or restored.
    async fn repository_work(&self, limit: usize) -> Result<Vec<RepositoryWork>>;

    /// Takes the next step, of about `limit` manifests. `None` if nothing is being done to it. Whose work it is
    /// and why was told when it began.
    async fn advance_repository(
        &self,
        repo: &RepoName,
        limit: usize,
        change: &Change,
    ) -> Result<Option<RepositoryStep>>;

    /// Looks at up to `limit` repositories behind the place `after` (0 at the beginning) and forgets those of which
    /// nothing is left, not even a history. Where it came to, `None` at the end; and how many it forgot.
    async fn forget_repositories(&self, after: i64, limit: usize) -> Result<(Option<i64>, u64)>;
}
