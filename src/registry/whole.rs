//! Deleting, restoring and renaming a repository as a whole.

use super::{Registry, Repository, RepositoryError, ServiceError};
use crate::metadata::{Change, Renaming, RepositoryStep, RepositoryWork};
use crate::oci::{RepoName, Tag};

/// How many tags are looked at together for one that is immutable.
const PAGE: usize = 1000;

/// More repositories than are ever deleted or restored at once.
const MOST_AT_WORK: usize = 10_000;

/// How many repositories the upkeep looks at for such of which nothing is left.
const SWEPT: usize = 500;

impl Repository {
    /// Begins to move all that is in the repository to the trash; [`Registry::advance_repositories`] does it.
    /// What is pushed from now on stays.
    ///
    /// # Errors
    /// [`RepositoryError::Unknown`] if nothing is in it, [`RepositoryError::Immutable`] if a tag may not go.
    pub async fn delete(&self) -> Result<RepositoryWork, RepositoryError> {
        self.registry.admit_change()?;
        let change = self.change();
        if let Some(tag) = self.fixed_tag(&change).await? {
            return Err(RepositoryError::Immutable(tag));
        }
        self.registry.outcomes.lock().await.forget_finished(&self.name);
        let metadata = &self.registry.metadata;
        let begun = self.registry.make_space(|| metadata.begin_deletion(&self.name, &change)).await?;
        begun.ok_or(RepositoryError::Unknown)
    }

    /// Begins to bring back what the last deletion of the repository took away, or the one with the id
    /// `removal` in its history; [`Registry::advance_repositories`] does it.
    ///
    /// # Errors
    /// [`RepositoryError::Unknown`] if nothing of it is in the trash.
    pub async fn restore(&self, removal: Option<i64>) -> Result<RepositoryWork, RepositoryError> {
        self.registry.admit_change()?;
        self.registry.outcomes.lock().await.forget_finished(&self.name);
        let begun = self.registry.metadata.begin_restoration(&self.name, removal, &self.change()).await?;
        begun.ok_or(RepositoryError::Unknown)
    }

    /// Gives the repository another name, at once. Renaming back undoes it. Clients that are pushing under the
    /// old name go on under it, and are told what they lack.
    ///
    /// # Errors
    /// [`RepositoryError`]; then nothing changed.
    pub async fn rename(&self, to: &RepoName) -> Result<(), RepositoryError> {
        self.registry.admit_change()?;
        self.registry.flush_pulls().await?;
        let _reserved = self.registry.reserve_rename(&self.name, to).await?;
        match self.registry.metadata.rename_repository(&self.name, to, &self.change()).await? {
            Renaming::Done => {
                self.registry.pulls.swap(&self.name, to);
                Ok(())
            }
            Renaming::Unknown => Err(RepositoryError::Unknown),
            Renaming::Occupied => Err(RepositoryError::Occupied(to.clone())),
            Renaming::InTrash => Err(RepositoryError::InTrash(to.clone())),
            Renaming::Busy => Err(RepositoryError::Busy),
            Renaming::Fixed(tag) => Err(RepositoryError::Immutable(tag)),
            Renaming::Refused(over) => Err(ServiceError::OverQuota(over).into()),
        }
    }

    /// How the deletion or restoration that was begun last stands. One that has ended is remembered until the
    /// server ends. `None` if there is none.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn work(&self) -> Result<Option<RepositoryStep>, ServiceError> {
        let outcomes = self.registry.outcomes.lock().await;
        let running = self.registry.metadata.repository_work(MOST_AT_WORK).await?;
        let running = running.into_iter().find(|work| work.repo == self.name);
        let known = outcomes.of(&self.name).cloned();
        Ok(match (running, known) {
            (Some(work), Some(known)) if !known.finished => Some(RepositoryStep { work, ..known }),
            (Some(work), _) => {
                Some(RepositoryStep { work, finished: false, taken: Vec::new(), missing: Vec::new() })
            }
            (None, known) => known,
        })
    }

    /// An immutable tag, so that nothing is begun that would stop half-way. Each step looks again.
    async fn fixed_tag(&self, change: &Change) -> Result<Option<Tag>, ServiceError> {
        let mut after: Option<Tag> = None;
        while change.fixed.may_be_any() {
            let from = after.as_ref().map(Tag::as_str);
            let tags = self.registry.metadata.tags(&self.name, from, PAGE).await?.unwrap_or_default();
            if let Some(fixed) = tags.iter().find(|tag| change.fixed.contains(tag)) {
                return Ok(Some(fixed.clone()));
            }
            match tags.last() {
                Some(last) => after = Some(last.clone()),
                None => break,
            }
        }
        Ok(None)
    }
}

impl Registry {
    /// Up to `limit` repositories that are being deleted or restored.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn repository_work(&self, limit: usize) -> Result<Vec<RepositoryWork>, ServiceError> {
        Ok(self.metadata.repository_work(limit).await?)
    }

    /// Takes a step, of about `limit` manifests, of the first deletion or restoration that has been begun. What
    /// it did; `None` if there is none.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn advance_repositories(&self, limit: usize) -> Result<Option<RepositoryStep>, ServiceError> {
        let Some(work) = self.metadata.repository_work(1).await?.pop() else {
            return Ok(None);
        };
        self.admit_change()?;
        let change = self.guarded(&work.repo, Change::from(self.clock.now()));
        let mut outcomes = self.outcomes.lock().await;
        let advanced = self.make_space(|| self.metadata.advance_repository(&work.repo, limit, &change));
        let step = advanced.await?;
        if let Some(step) = &step {
            outcomes.note(step);
        }
        Ok(step)
    }

    /// Looks at some repositories behind the place `after` (0 at the beginning) and forgets those of which
    /// nothing is left. Where the next call goes on: 0 after the last.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn forget_repositories(&self, after: i64) -> Result<i64, ServiceError> {
        let (next, _) = self.metadata.forget_repositories(after, SWEPT).await?;
        Ok(next.unwrap_or(0))
    }
}
