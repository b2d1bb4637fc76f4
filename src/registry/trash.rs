//! Emptying the trash, and expiring tags and manifests on behalf of policies.

use super::{Registry, ServiceError};
use crate::clock::Timestamp;
use crate::metadata::{Batch, Change, ExpiryOutcome, ManifestExpiry, TagExpiry};
use crate::oci::RepoName;

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

    /// Adds the immutable tags and history limits of `repo` to a change.
    pub(super) fn with_repository_rules(&self, repo: &RepoName, change: Change) -> Change {
        Change {
            immutable_tags: self.immutable_tags(repo),
            keep: self.settings.history_keep,
            keep_in_repository: self.settings.history_max_rows,
            ..change
        }
    }
}
