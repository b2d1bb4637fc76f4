//! Reading, mounting and deleting blobs.

use std::ops::Range;

use super::reservations::Reservation;
use super::{BlobError, DeleteError, Repository, ServiceError};
use crate::metadata::{BlobRecord, Condition, Deletion, Mount, Renewal, Target, stale_lease};
use crate::oci::{BlobKey, Digest, RepoName};
use crate::store::{Content, StoreError};

/// In how many repositories a blob is looked for that somebody may mount from: a base image is in nearly all.
const MOST_SOURCES: usize = 1000;

impl Repository {
    /// A blob that this repository serves. Leases it to a caller who may push.
    ///
    /// # Errors
    /// [`BlobError::Unknown`] if it serves no such blob.
    pub async fn blob(&self, digest: &Digest) -> Result<BlobRecord, BlobError> {
        let registry = &self.registry;
        let blob = registry.metadata.blob(&self.name, digest).await?.ok_or(BlobError::Unknown)?;
        if self.access.push && self.lease_is_stale(blob.leased_at) {
            self.renew_lease(Target::Blob(digest), false).await?.then_some(()).ok_or(BlobError::Unknown)?;
        }
        Ok(blob)
    }

    /// The bytes of `range` of a blob that [`Repository::blob`] found.
    ///
    /// # Errors
    /// [`BlobError::Unknown`] if it is gone meanwhile.
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
                self.registry.set_aside(&blob.key, &error).await?;
                return Err(BlobError::Unknown);
            }
            blob = newer;
        }
    }

    /// Makes a blob that another repository (`from`, or any) serves a blob of this one too, and leases it.
    /// `None` if there is no such blob, and the client has to upload it.
    ///
    /// # Errors
    /// [`BlobError::ServiceError`].
    pub async fn mount(
        &self,
        digest: &Digest,
        from: Option<&RepoName>,
    ) -> Result<Option<BlobRecord>, BlobError> {
        self.registry.admit_change()?;
        let _reserved = self.reserve_mount(digest).await?;
        let now = self.registry.clock.now();
        match self.registry.metadata.mount_blob(&self.name, digest, from, now).await? {
            Mount::Done(blob) => Ok(Some(blob)),
            Mount::Missing => Ok(None),
            Mount::Refused(over) => Err(ServiceError::OverQuota(over).into()),
        }
    }

    /// Reserves the size of a blob that is about to be mounted, if there is such a blob and a quota asks.
    async fn reserve_mount(&self, digest: &Digest) -> Result<Option<Reservation>, ServiceError> {
        if !self.registry.limits_bytes(&self.name) {
            return Ok(None);
        }
        match self.registry.metadata.stored_blob(digest).await? {
            Some(blob) => self.registry.reserve_quota(&self.name, Target::Blob(digest), blob.size).await,
            None => Ok(None),
        }
    }

    /// Some repositories that serve a blob, for whoever may not mount it from anywhere.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn repositories_with(&self, digest: &Digest) -> Result<Vec<RepoName>, ServiceError> {
        Ok(self.registry.metadata.blob_repositories(digest, MOST_SOURCES).await?)
    }

    /// Takes a blob away from this repository.
    ///
    /// # Errors
    /// [`DeleteError::HeldBy`] if a live manifest refers to it.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), DeleteError> {
        self.registry.admit_change()?;
        let now = self.registry.clock.now();
        let metadata = &self.registry.metadata;
        let deletion = self.registry.make_space(|| metadata.delete_blob(&self.name, digest, now));
        deleted(deletion.await?)
    }

    pub(super) fn lease_is_stale(&self, leased_at: crate::clock::Timestamp) -> bool {
        leased_at <= stale_lease(self.registry.clock.now(), self.registry.settings.shortest_lease())
    }

    /// Renews a lease, also of a manifest that a tag holds if it is `tagged`; `false` if its target is gone.
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
        let stale = stale_lease(now, settings.shortest_lease());
        let renewal = Renewal { now, stale, held: settings.makes_room(), tagged };
        match self.registry.metadata.renew_lease(&self.name, target, renewal).await {
            // Pulls go on when the disk is full or broken, and no push can make use of a lease then. One that
            // ends after it has recovered has its manifest checked against what is still there.
            Err(error) => {
                tracing::debug!(%error, "a lease was not renewed");
                self.registry.leases_refreshed();
                Ok(true)
            }
            renewed => renewed,
        }
    }
}

impl super::Registry {
    /// Marks a blob as damaged: absent to everyone, until a push brings its bytes again. Not if the store as
    /// a whole has gone away: an unmounted volume condemns nothing.
    async fn set_aside(&self, key: &BlobKey, reason: &StoreError) -> Result<(), BlobError> {
        self.blobs.check().await?;
        tracing::error!(digest = %key.digest, generation = %key.generation, %reason, "a blob's bytes are damaged");
        if !self.settings.read_only {
            let condition = Condition::Damaged(reason.to_string());
            self.metadata.mark_blob(key, condition, self.clock.now()).await?;
        }
        Ok(())
    }
}

/// What a deletion came to, as a result.
pub(super) fn deleted(deletion: Deletion) -> Result<(), DeleteError> {
    match deletion {
        Deletion::Done => Ok(()),
        Deletion::Unknown => Err(DeleteError::Unknown),
        Deletion::HeldBy(holder) => Err(DeleteError::HeldBy(holder)),
        Deletion::Fixed(tag) => Err(DeleteError::Immutable(tag)),
    }
}
