//! What is in the trash, emptying it, and what policies put there.

use super::{Registry, ServiceError};
use crate::clock::Timestamp;
use crate::metadata::{
    Batch, Change, ExpireManifest, ExpireTag, Expired, RemovedManifest, RemovedTag, TrashCursor, TrashPage,
};
use crate::oci::RepoName;

/// How many manifests are let go in one step.
const AT_ONCE: usize = 500;

/// What emptying the trash did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emptied {
    /// How many manifests were given up.
    pub manifests: u64,
    /// From when on the collector removes what only they held, for that is leased from their removal on. Now, if
    /// those leases have ended. Manifests that follow them are removed then, and what those held a lease later.
    pub collected_from: Timestamp,
}

impl Registry {
    /// Up to `limit` manifests in the trash, of `repo` or of all, newest first. Each is purged when the trash
    /// time is over since it was removed.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn removed_manifests(
        &self,
        repo: Option<&RepoName>,
        after: Option<TrashCursor>,
        limit: usize,
    ) -> Result<TrashPage<RemovedManifest>, ServiceError> {
        Ok(self.metadata.removed_manifests(repo, after, limit).await?)
    }

    /// Up to `limit` tags, of `repo` or of all, that were taken away while their manifest lives on, newest first.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn removed_tags(
        &self,
        repo: Option<&RepoName>,
        after: Option<TrashCursor>,
        limit: usize,
    ) -> Result<TrashPage<RemovedTag>, ServiceError> {
        Ok(self.metadata.removed_tags(repo, after, limit).await?)
    }

    /// Lets the collector purge up to `limit` manifests that were removed at `cutoff` or before: nothing brings
    /// them back. To be called until there are no more, with the time at which it was asked for.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn empty_trash(
        &self,
        repo: Option<&RepoName>,
        cutoff: Timestamp,
        limit: usize,
    ) -> Result<Batch, ServiceError> {
        self.admit_change()?;
        Ok(self.make_space(|| self.metadata.empty_trash(repo, cutoff, limit)).await?)
    }

    /// Gives up all that is in the trash now, of `repo` or of all, a batch at a time: nothing brings it back. A
    /// crash in between leaves the older part of it given up.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn empty_whole_trash(&self, repo: Option<&RepoName>) -> Result<Emptied, ServiceError> {
        let now = self.clock.now();
        let newest = self.removed_manifests(repo, None, 1).await?.items.pop();
        let leased = newest.map(|newest| newest.removed_at.plus(self.settings.lease));
        let mut manifests = 0;
        loop {
            let batch = self.empty_trash(repo, now, AT_ONCE).await?;
            manifests += batch.changed;
            if !batch.more {
                break;
            }
        }
        Ok(Emptied { manifests, collected_from: leased.map_or(now, |leased| leased.max(now)) })
    }

    /// Takes a tag away for a policy, if it is still what it was judged by, and its manifest with it if nothing
    /// else holds that. Immutable tags are left alone.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn expire_tag(&self, expiry: ExpireTag) -> Result<Expired, ServiceError> {
        self.admit_change()?;
        let change = self.guarded(&expiry.repo, expiry.change);
        Ok(self.metadata.expire_tag(ExpireTag { change, ..expiry }).await?)
    }

    /// Takes a manifest without a tag away for a policy, if it is still what it was judged by.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn expire_manifest(&self, expiry: ExpireManifest) -> Result<Expired, ServiceError> {
        self.admit_change()?;
        let change = self.guarded(&expiry.repo, expiry.change);
        Ok(self.metadata.expire_manifest(ExpireManifest { change, ..expiry }).await?)
    }

    /// The same change with the settings that hold for tags of `repo`.
    pub(super) fn guarded(&self, repo: &RepoName, change: Change) -> Change {
        Change {
            fixed: self.fixed_tags(repo),
            keep: self.settings.history_keep,
            keep_in_repository: self.settings.history_max_rows,
            ..change
        }
    }
}
