//! Lists, deletes, restores, renames and describes whole repositories.

use super::{MAX_DESCRIPTION_CHARS, Registry, Repository, RepositoryError, ServiceError};
use crate::metadata::{Change, ListPage, Renaming, RepositoryStep, RepositoryWork, Visible};
use crate::oci::{RepoName, Tag};

/// How many tags are checked for immutability at a time.
const TAG_PAGE: usize = 1000;

/// Upper bound for the number of deletions and restorations that run at once.
const MAX_RUNNING_WORK: usize = 10_000;

/// How many repositories [`Registry::forget_empty_repositories`] checks in one step.
const FORGET_BATCH: usize = 500;

impl Repository {
    /// Starts to move the content of the repository to the trash; [`Registry::advance_repository_work`] does the rest.
    /// Content that is pushed from now on stays.
    ///
    /// # Errors
    /// [`RepositoryError::Unknown`] if it is empty, [`RepositoryError::Immutable`] if it has an immutable tag.
    pub async fn delete(&self) -> Result<RepositoryWork, RepositoryError> {
        self.registry.admit_change()?;
        let change = self.change();
        if let Some(tag) = self.find_immutable_tag(&change).await? {
            return Err(RepositoryError::Immutable(tag));
        }
        self.registry.outcomes.lock().await.forget_finished(&self.name);
        let metadata = &self.registry.metadata;
        let started = self.registry.make_space(|| metadata.start_deletion(&self.name, &change)).await?;
        started.ok_or(RepositoryError::Unknown)
    }

    /// Starts to restore what the last deletion of the repository removed, or what the deletion with the id `removal`
    /// in its history removed; [`Registry::advance_repository_work`] does the rest.
    ///
    /// # Errors
    /// [`RepositoryError::Unknown`] if nothing of the repository is in the trash.
    pub async fn restore(&self, removal: Option<i64>) -> Result<RepositoryWork, RepositoryError> {
        self.registry.admit_change()?;
        self.registry.outcomes.lock().await.forget_finished(&self.name);
        let started = self.registry.metadata.start_restoration(&self.name, removal, &self.change()).await?;
        started.ok_or(RepositoryError::Unknown)
    }

    /// Renames the repository at once. Renaming it back undoes this. Clients that are pushing to the old name keep
    /// using it, and get errors for content that is no longer there.
    ///
    /// # Errors
    /// Any [`RepositoryError`]. Then nothing was changed.
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
            Renaming::Immutable(tag) => Err(RepositoryError::Immutable(tag)),
            Renaming::Refused(over) => Err(ServiceError::OverQuota(over).into()),
        }
    }

    /// Sets the description of the repository, which is plain text. An empty one removes it. Line breaks are stored as
    /// line feeds, and space at the end is not stored.
    ///
    /// # Errors
    /// [`RepositoryError::Description`] if the text is too long or has control characters, [`RepositoryError::Unknown`]
    /// if the repository is empty.
    pub async fn set_description(&self, text: &str) -> Result<(), RepositoryError> {
        self.registry.admit_change()?;
        let text = text.replace("\r\n", "\n");
        let text = text.trim_end();
        let is_plain = |letter: char| matches!(letter, '\n' | '\t') || !letter.is_control();
        if text.chars().count() > MAX_DESCRIPTION_CHARS || !text.chars().all(is_plain) {
            return Err(RepositoryError::Description);
        }
        let description = (!text.is_empty()).then_some(text);
        match self.registry.metadata.set_description(&self.name, description).await? {
            true => Ok(()),
            false => Err(RepositoryError::Unknown),
        }
    }

    /// Returns the progress or outcome of the last deletion or restoration of the repository, or `None` if there was
    /// none. Outcomes are remembered until the server stops.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn work(&self) -> Result<Option<RepositoryStep>, ServiceError> {
        let outcomes = self.registry.outcomes.lock().await;
        let running = self.registry.metadata.repository_work(MAX_RUNNING_WORK).await?;
        let running = running.into_iter().find(|work| work.repo == self.name);
        let known = outcomes.of(&self.name).cloned();
        Ok(match (running, known) {
            (Some(work), Some(known)) if !known.finished => Some(RepositoryStep { work, ..known }),
            (Some(work), _) => {
                Some(RepositoryStep { work, finished: false, tags_in_use: Vec::new(), missing: Vec::new() })
            }
            (None, known) => known,
        })
    }

    /// Finds an immutable tag of the repository. It is looked for before a deletion starts, so that the deletion does
    /// not stop half-way. Each step checks again.
    async fn find_immutable_tag(&self, change: &Change) -> Result<Option<Tag>, ServiceError> {
        let mut after: Option<Tag> = None;
        while change.immutable_tags.can_match() {
            let from = after.as_ref().map(Tag::as_str);
            let tags = self.registry.metadata.tags(&self.name, from, TAG_PAGE).await?.unwrap_or_default();
            if let Some(immutable) = tags.iter().find(|tag| change.immutable_tags.contains(tag)) {
                return Ok(Some(immutable.clone()));
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
    /// Returns up to `limit` repositories that are being deleted or restored.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn repository_work(&self, limit: usize) -> Result<Vec<RepositoryWork>, ServiceError> {
        Ok(self.metadata.repository_work(limit).await?)
    }

    /// Runs the next step, of about `limit` manifests, of the first deletion or restoration that is not finished.
    /// Returns the step, or `None` if all are finished.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn advance_repository_work(
        &self,
        limit: usize,
    ) -> Result<Option<RepositoryStep>, ServiceError> {
        let Some(work) = self.metadata.repository_work(1).await?.pop() else {
            return Ok(None);
        };
        self.admit_change()?;
        let change = self.with_repository_rules(&work.repo, Change::from(self.clock.now()));
        let mut outcomes = self.outcomes.lock().await;
        let advanced = self.make_space(|| self.metadata.advance_repository(&work.repo, limit, &change));
        let step = advanced.await?;
        if let Some(step) = &step {
            outcomes.record(step);
        }
        Ok(step)
    }

    /// Checks some repositories and removes the records of empty ones. `after` is the result of the previous call, or 0
    /// for the first one. Returns 0 after the last repository.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn forget_empty_repositories(&self, after: i64) -> Result<i64, ServiceError> {
        let (next, _) = self.metadata.forget_empty_repositories(after, FORGET_BATCH).await?;
        Ok(next.unwrap_or(0))
    }
}

impl Registry {
    /// Returns up to `limit` visible repositories that have something to pull, in byte order after `after`.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn repository_names(
        &self,
        after: Option<&str>,
        limit: usize,
        visible: &Visible,
    ) -> Result<ListPage<RepoName>, ServiceError> {
        Ok(self.metadata.repository_names(after, limit, visible).await?)
    }
}
