//! The trash and the history of tags: restoring from them, emptying them, and expiring tags and manifests on behalf of
//! policies.

use super::{Registry, Repository, ServiceError, UndoError};
use crate::clock::Timestamp;
use crate::metadata::{
    Batch, ExpiryOutcome, ManifestExpiry, Restoration, Restored, TagExpiry, TagRestoration,
};
use crate::oci::{Digest, RepoName, Tag};

/// How many manifests are purged in one step.
const EMPTY_BATCH: usize = 500;

/// The result of emptying the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emptied {
    /// How many manifests were removed from the trash.
    pub manifests: u64,
    /// When the collector starts to remove content that only they held: after the leases taken at their removal, or now
    /// if those have ended. Manifests that depend on them are removed at that time, and their content one lease later.
    pub collected_from: Timestamp,
}

impl Registry {
    /// Marks up to `limit` manifests that were removed at or before `cutoff` for purging; they cannot be restored. Call
    /// it until there are no more, with the time of the request as `cutoff`.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn empty_trash(
        &self,
        repo: Option<&RepoName>,
        cutoff: Timestamp,
        limit: usize,
    ) -> Result<Batch, ServiceError> {
        self.admit_change()?;
        Ok(self.make_space(|| self.metadata.empty_trash(repo, cutoff, limit)).await?)
    }

    /// Marks these manifests for purging, as far as they are in the trash. Returns how many.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn purge_from_trash(&self, removed: &[(RepoName, Digest)]) -> Result<u64, ServiceError> {
        self.admit_change()?;
        Ok(self.make_space(|| self.metadata.purge_from_trash(removed.to_vec())).await?)
    }

    /// Empties the trash of `repo` or of all repositories in batches; nothing of it can be restored. A crash in between
    /// leaves the older part marked for purging.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn empty_whole_trash(&self, repo: Option<&RepoName>) -> Result<Emptied, ServiceError> {
        let now = self.clock.now();
        let newest = self.metadata.removed_manifests(repo, None, 1).await?.items.pop();
        let leased = newest.map(|newest| newest.removed_at.plus(self.settings.lease));
        let mut manifests = 0;
        loop {
            let batch = self.empty_trash(repo, now, EMPTY_BATCH).await?;
            manifests += batch.changed;
            if !batch.more {
                break;
            }
        }
        Ok(Emptied { manifests, collected_from: leased.map_or(now, |leased| leased.max(now)) })
    }

    /// Removes a tag on behalf of a policy if it is unchanged since the policy evaluated it, and its manifest too if
    /// nothing else holds it. Immutable tags are kept.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn expire_tag(&self, expiry: TagExpiry) -> Result<ExpiryOutcome, ServiceError> {
        self.admit_change()?;
        let change = self.with_repository_rules(&expiry.repo, expiry.change);
        Ok(self.metadata.expire_tag(TagExpiry { change, ..expiry }).await?)
    }

    /// Removes an untagged manifest on behalf of a policy if it is unchanged since the policy evaluated it.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn expire_manifest(&self, expiry: ManifestExpiry) -> Result<ExpiryOutcome, ServiceError> {
        self.admit_change()?;
        let change = self.with_repository_rules(&expiry.repo, expiry.change);
        Ok(self.metadata.expire_manifest(ManifestExpiry { change, ..expiry }).await?)
    }
}

/// The number of removed tags whose history is deleted in one step.
const HISTORY_BATCH: usize = 100;

/// A tag that was rolled back or restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepointedTag {
    /// What it pointed at before; `None` if the tag did not exist.
    pub from: Option<Digest>,
    /// What it points at now.
    pub to: Digest,
    /// The manifests restored from the trash for it.
    pub restored: Vec<Digest>,
}

impl Repository {
    /// Points a tag at its manifest before the last change, or at `to` from its history.
    ///
    /// # Errors
    /// Any [`UndoError`]; nothing has changed in that case.
    pub async fn rollback(&self, tag: &Tag, to: Option<&Digest>) -> Result<RepointedTag, UndoError> {
        self.registry.admit_change()?;
        repointed_tag(self.registry.metadata.rollback(&self.name, tag, to, &self.change()).await?)
    }

    /// Restores a removed tag to the manifest it pointed at.
    ///
    /// # Errors
    /// Any [`UndoError`]; nothing has changed in that case.
    pub async fn restore_tag(&self, tag: &Tag) -> Result<RepointedTag, UndoError> {
        self.registry.admit_change()?;
        repointed_tag(self.registry.metadata.restore_tag(&self.name, tag, &self.change()).await?)
    }

    /// Restores a manifest from the trash with its children, its tags, and the signatures and other referrers removed
    /// with it.
    ///
    /// # Errors
    /// [`UndoError::Unknown`] if it is not in the trash, [`UndoError::Missing`] if content it refers to has been
    /// removed.
    pub async fn restore_manifest(&self, digest: &Digest) -> Result<Restored, UndoError> {
        self.registry.admit_change()?;
        match self.registry.metadata.restore_manifest(&self.name, digest, &self.change()).await? {
            Restoration::Done(restored) => Ok(restored),
            Restoration::Unknown => Err(UndoError::Unknown),
            Restoration::Missing(missing) => Err(UndoError::Missing(missing)),
            Restoration::Refused(over) => Err(ServiceError::OverQuota(over).into()),
        }
    }
}

fn repointed_tag(outcome: TagRestoration) -> Result<RepointedTag, UndoError> {
    match outcome {
        TagRestoration::Done { from, to, restored } => Ok(RepointedTag { from, to, restored }),
        TagRestoration::Unknown => Err(UndoError::Unknown),
        TagRestoration::NotInHistory => Err(UndoError::NotInHistory),
        TagRestoration::InUse(digest) => Err(UndoError::InUse(digest)),
        TagRestoration::Gone(digest) => Err(UndoError::Gone(digest)),
        TagRestoration::Missing(missing) => Err(UndoError::Missing(missing)),
        TagRestoration::Immutable(tag) => Err(UndoError::Immutable(tag)),
        TagRestoration::Refused(over) => Err(ServiceError::OverQuota(over).into()),
    }
}

impl Registry {
    /// Deletes the history of some tags that were removed long ago. Returns whether more are waiting.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn forget_history(&self) -> Result<bool, ServiceError> {
        let cutoff = self.clock.now().minus(self.settings.removed_tag_history_retention);
        Ok(self.metadata.forget_history(cutoff, HISTORY_BATCH).await?.more)
    }
}
