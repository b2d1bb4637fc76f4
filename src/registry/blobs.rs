//! Reading, mounting and deleting blobs, and removing the bytes of those that no record names any more.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::OwnedRwLockReadGuard;

use super::reservations::Reservation;
use super::{BlobError, DeleteError, Registry, Repository, ServiceError};
use crate::errors::Chain;
use crate::metadata::{BlobRecord, Deletion, Integrity, Mount, Renewal, Target, lease_renewal_cutoff};
use crate::oci::{BlobKey, Digest, RepoName};
use crate::store::{Content, StoreError};

/// The maximum number of repositories considered as mount sources of a blob: a base image is in nearly all of them.
const MAX_MOUNT_SOURCES: usize = 1000;

impl Repository {
    /// Returns a blob that this repository serves. Leases it to a caller who may push.
    ///
    /// # Errors
    /// [`BlobError::Unknown`] if the repository serves no such blob.
    pub async fn blob(&self, digest: &Digest) -> Result<BlobRecord, BlobError> {
        let registry = &self.registry;
        let blob = registry.metadata.blob(&self.name, digest).await?.ok_or(BlobError::Unknown)?;
        if self.access.push && self.lease_is_stale(blob.leased_at) {
            self.renew_lease(Target::Blob(digest), false).await?.then_some(()).ok_or(BlobError::Unknown)?;
        }
        Ok(blob)
    }

    /// The same for a client that checks whether a blob exists. To a caller who may push, an adopted blob exists only
    /// once its content was hashed; this waits for that.
    ///
    /// # Errors
    /// [`BlobError::Unknown`] if the repository serves no such blob, or if it could not be verified in time.
    pub async fn probe_blob(&self, digest: &Digest) -> Result<BlobRecord, BlobError> {
        if self.access.push
            && !self.registry.verify_for_push(Some(&self.name), std::slice::from_ref(digest)).await?
        {
            return Err(BlobError::Unknown);
        }
        self.blob(digest).await
    }

    /// Reads the bytes of `range` of a blob that [`Repository::blob`] returned.
    ///
    /// # Errors
    /// [`BlobError::Unknown`] if the blob has been removed meanwhile.
    pub async fn read_blob(&self, blob: &BlobRecord, range: Range<u64>) -> Result<Content, BlobError> {
        let mut blob = blob.clone();
        loop {
            let error = match self.registry.blobs.read(&blob.key, blob.size, range.clone()).await {
                Ok(content) => return Ok(content),
                Err(error @ (StoreError::NotFound | StoreError::Damaged(_))) => error,
                Err(error) => return Err(error.into()),
            };
            // A push of the same digest may have replaced the bytes since the record was read.
            let newer = self.registry.metadata.blob(&self.name, &blob.key.digest).await?;
            let newer = newer.ok_or(BlobError::Unknown)?;
            if newer.key == blob.key {
                self.registry.quarantine(&blob.key, &error.to_string()).await?;
                return Err(BlobError::Unknown);
            }
            blob = newer;
        }
    }

    /// Adds a blob that another repository (`from`, or any) serves to this repository and leases it. `None` if there is
    /// no such blob; the client has to upload it then.
    ///
    /// # Errors
    /// Fails if the registry rejects changes, or if a quota would be exceeded.
    pub async fn mount(
        &self,
        digest: &Digest,
        from: Option<&RepoName>,
    ) -> Result<Option<BlobRecord>, BlobError> {
        self.registry.admit_change()?;
        // A blob that could not be verified in time counts as missing.
        self.registry.verify_for_push(from, std::slice::from_ref(digest)).await?;
        let _reserved = self.reserve_mount(digest).await?;
        let now = self.registry.clock.now();
        match self.registry.metadata.mount_blob(&self.name, digest, from, now).await? {
            Mount::Done(blob) => Ok(Some(blob)),
            Mount::Missing => Ok(None),
            Mount::Refused(over) => Err(ServiceError::OverQuota(over).into()),
        }
    }

    /// Reserves the size of a blob that is about to be mounted, if there is such a blob and a byte quota applies.
    async fn reserve_mount(&self, digest: &Digest) -> Result<Option<Reservation>, ServiceError> {
        if !self.registry.has_byte_quota(&self.name) {
            return Ok(None);
        }
        match self.registry.metadata.stored_blob(digest).await? {
            Some(blob) => self.registry.reserve_quota(&self.name, Target::Blob(digest), blob.size).await,
            None => Ok(None),
        }
    }

    /// Returns some of the repositories that serve a blob, for a caller who may mount only from some repositories.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn repositories_with(&self, digest: &Digest) -> Result<Vec<RepoName>, ServiceError> {
        Ok(self.registry.metadata.blob_repositories(digest, MAX_MOUNT_SOURCES).await?)
    }

    /// Removes a blob from this repository.
    ///
    /// # Errors
    /// [`DeleteError::HeldBy`] if a live manifest refers to it.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), DeleteError> {
        self.registry.admit_change()?;
        let now = self.registry.clock.now();
        let metadata = &self.registry.metadata;
        let outcome = self.registry.make_space(|| metadata.delete_blob(&self.name, digest, now));
        deletion_result(outcome.await?)
    }

    pub(super) fn lease_is_stale(&self, leased_at: crate::clock::Timestamp) -> bool {
        leased_at <= lease_renewal_cutoff(self.registry.clock.now(), self.registry.settings.shortest_lease())
    }

    /// Renews a lease, also of a manifest held by a tag if `tagged` is set. Returns `false` if its target no longer
    /// exists.
    pub(super) async fn renew_lease(
        &self,
        target: Target<'_>,
        tagged: bool,
    ) -> crate::metadata::Result<bool> {
        if self.registry.settings.read_only {
            return Ok(true);
        }
        let now = self.registry.clock.now();
        let settings = &self.registry.settings;
        let stale = lease_renewal_cutoff(now, settings.shortest_lease());
        let renewal = Renewal { now, stale, held: settings.may_reclaim_space(), tagged };
        match self.registry.metadata.renew_lease(&self.name, target, renewal).await {
            // Pulls still work when the disk is full or broken, and no push can make use of a lease in that state. A
            // push that ends after the disk has recovered has its manifest checked against the content that still
            // exists.
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "renewing a lease failed");
                self.registry.leases_refreshed();
                Ok(true)
            }
            renewed => renewed,
        }
    }
}

impl Registry {
    /// Quarantines a blob: it is absent for everyone until a push brings its bytes again. Fails if the store as a whole
    /// is unavailable, because an unmounted volume must not quarantine anything.
    pub(super) async fn quarantine(&self, key: &BlobKey, reason: &str) -> Result<(), ServiceError> {
        self.blobs.check().await?;
        tracing::error!(digest = %key.digest, generation = %key.generation, reason, "the bytes of a blob are damaged");
        if !self.settings.read_only {
            let condition = Integrity::Damaged(reason.to_owned());
            self.metadata.mark_blob(key, condition, self.clock.now()).await?;
        }
        Ok(())
    }
}

/// Converts the outcome of a deletion to a result.
pub(super) fn deletion_result(deletion: Deletion) -> Result<(), DeleteError> {
    match deletion {
        Deletion::Done => Ok(()),
        Deletion::Unknown => Err(DeleteError::Unknown),
        Deletion::HeldBy(holder) => Err(DeleteError::HeldBy(holder)),
        Deletion::Immutable(tag) => Err(DeleteError::Immutable(tag)),
    }
}

/// While this value lives, no bytes are removed: everything a copy of the metadata names stays in the store.
pub struct RemovalPause(#[expect(dead_code, reason = "held for its drop")] OwnedRwLockReadGuard<()>);

/// The result of a round of removals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many blobs were removed.
    pub blobs: u64,
    /// How many bytes they had.
    pub bytes: u64,
    /// Whether more are waiting.
    pub more: bool,
    /// The digests of the removed blobs.
    pub digests: Vec<Digest>,
}

impl Registry {
    /// Pauses removals. Waits for a running one to end.
    pub async fn pause_removals(&self) -> RemovalPause {
        RemovalPause(Arc::clone(&self.removals).read_owned().await)
    }

    /// Removes the bytes of up to `limit` blobs that are pending deletion, then their entries. A crash between the two
    /// leaves entries for the next call.
    ///
    /// # Errors
    /// Fails if a store fails; the next call also handles the blobs removed by this one.
    pub async fn remove_pending_blobs(&self, limit: usize) -> Result<Removed, ServiceError> {
        let Ok(_permission) = self.removals.try_write() else {
            return Ok(Removed::default());
        };
        let pending = self.metadata.pending_deletions(limit).await?;
        let mut removed = Removed { more: pending.len() == limit, ..Removed::default() };
        let mut keys = Vec::with_capacity(pending.len());
        for (key, size) in pending {
            self.blobs.remove(&key).await?;
            removed.blobs += 1;
            removed.bytes += size;
            removed.digests.push(key.digest.clone());
            keys.push(key);
        }
        if !keys.is_empty() {
            self.make_space(|| self.metadata.forget_pending_deletions(&keys)).await?;
            self.pressure.record_freed();
        }
        Ok(removed)
    }
}
