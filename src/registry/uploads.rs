//! Uploads of blobs.
//!
//! Bytes are hashed as they arrive and written in parallel. Offset and hash state are recorded only for durable bytes.
//! An upload finishes in steps, each of which survives a crash: the intent is recorded, the bytes are moved into place
//! and synced, and one transaction turns the upload into a blob.

use std::ops::RangeInclusive;

use super::sessions::{OpenUpload, Owned};
use super::{ClientBody, Repository, ServiceError, UploadError};
use crate::errors::{Chain, Context};
use crate::metadata::{BlobSize, Commit, Progress, UploadCreation, UploadEnd, UploadRecord};
use crate::oci::{Algorithm, BlobKey, Digest, Generation, Hasher, UploadId};
use crate::store::StoreError;
use crate::traces;

impl Repository {
    /// Opens an upload.
    ///
    /// # Errors
    /// Fails if the registry accepts no bodies now.
    pub async fn start_upload(&self, algorithm: Algorithm) -> Result<UploadId, UploadError> {
        self.registry.admit_body(&self.requester()).await?;
        let id = UploadId::random();
        let now = self.registry.clock.now();
        match self.registry.metadata.create_upload(&self.name, id, algorithm, now).await? {
            UploadCreation::Created => {}
            UploadCreation::Refused(over) => return Err(ServiceError::OverQuota(over).into()),
        }
        self.registry.sessions.open(id, self.new_open_upload(Hasher::new(algorithm), 0));
        Ok(id)
    }

    /// Returns the offset of an upload, in bytes. Interrupts a request that is still writing to it: the client that
    /// asks wants to continue the upload.
    ///
    /// # Errors
    /// [`UploadError::Unknown`] if there is no such upload.
    pub async fn upload_offset(&self, id: UploadId) -> Result<u64, UploadError> {
        let this = self.clone();
        detached(async move {
            let mut owned = this.own(id).await?;
            let offset = this.open(id, &mut owned).await?.offset;
            this.registry.close_if_crowded(id, &mut owned.slot).await;
            Ok(offset)
        })
        .await
    }

    /// Appends a body and returns the new offset. `range`, if given, says which bytes of the blob the body
    /// has. Bytes received before an error are kept, unless the error is about the range.
    ///
    /// # Errors
    /// Any [`UploadError`] except `WrongDigest`.
    pub async fn append(
        &self,
        id: UploadId,
        range: Option<RangeInclusive<u64>>,
        body: ClientBody,
    ) -> Result<u64, UploadError> {
        let mut owned = self.receive(id, range, body).await?;
        let offset = owned.slot.as_ref().map(|upload| upload.offset).ok_or(UploadError::Unknown)?;
        self.registry.close_if_crowded(id, &mut owned.slot).await;
        Ok(offset)
    }

    /// Appends the last body and turns the upload into the blob `digest`. The blob is durable when this returns.
    ///
    /// # Errors
    /// Any [`UploadError`]. After `WrongDigest` the upload no longer exists.
    pub async fn finish(
        &self,
        id: UploadId,
        range: Option<RangeInclusive<u64>>,
        body: ClientBody,
        digest: Digest,
    ) -> Result<(), UploadError> {
        let mut owned = self.receive(id, range, body).await?;
        let this = self.clone();
        detached(async move {
            this.verify(id, &mut owned, &digest).await?;
            let committed = this.commit(id, &mut owned, digest).await;
            // Committed, gone, or to be read again from its record: the state in memory is outdated.
            *owned.slot = None;
            committed
        })
        .await
    }

    /// Cancels an upload and discards its bytes.
    ///
    /// # Errors
    /// [`UploadError::Unknown`] if there is no such upload.
    pub async fn cancel_upload(&self, id: UploadId) -> Result<(), UploadError> {
        let this = self.clone();
        detached(async move {
            let mut owned = this.own(id).await?;
            this.open(id, &mut owned).await?;
            this.abandon(id, &mut owned).await
        })
        .await
    }

    /// Makes the caller the owner of an upload of this repository.
    pub(super) async fn own(&self, id: UploadId) -> Result<Owned, UploadError> {
        if self.registry.settings.read_only {
            return Err(ServiceError::ReadOnly.into());
        }
        let sessions = &self.registry.sessions;
        let is_known =
            sessions.has(id, &self.name) || self.registry.metadata.upload(&self.name, id).await?.is_some();
        if !is_known {
            return Err(UploadError::Unknown);
        }
        sessions.take_over(id, Some(&self.name)).await.ok_or(UploadError::TakenOver)
    }

    /// Returns the owned upload, read from its record if this process does not have it open.
    pub(super) async fn open<'a>(
        &self,
        id: UploadId,
        owned: &'a mut Owned,
    ) -> Result<&'a mut OpenUpload, UploadError> {
        if owned.slot.is_none() {
            *owned.slot = self.load(id).await?;
        }
        match &mut *owned.slot {
            Some(upload) if upload.repo == self.name => Ok(upload),
            _ => Err(UploadError::Unknown),
        }
    }

    /// Returns the owned upload with its bytes open.
    pub(super) async fn open_with_bytes<'a>(
        &self,
        id: UploadId,
        owned: &'a mut Owned,
    ) -> Result<&'a mut OpenUpload, UploadError> {
        let upload = self.open(id, owned).await?;
        self.registry.open_bytes(id, upload).await?;
        Ok(upload)
    }

    async fn load(&self, id: UploadId) -> Result<Option<OpenUpload>, UploadError> {
        let Some(record) = self.registry.metadata.upload(&self.name, id).await? else {
            return Ok(None);
        };
        if let Some(intent) = &record.intent {
            self.registry.undo_intent(id, intent).await?;
        }
        let upload = match restore_hasher(&record) {
            Some(hasher) => self.new_open_upload(hasher, record.progress.offset),
            None => self.new_open_upload(Hasher::new(record.algorithm), 0),
        };
        self.stage(id, upload).await.map(Some)
    }

    /// Opens the bytes of an upload, truncated to its offset. Restarts the upload if fewer bytes are left than were
    /// recorded as durable.
    async fn stage(&self, id: UploadId, mut upload: OpenUpload) -> Result<OpenUpload, UploadError> {
        let staged = match self.registry.blobs.stage(id, upload.offset).await {
            Err(StoreError::Damaged(reason)) => {
                tracing::warn!(upload = %id, %reason, "the bytes of an upload are lost; the upload restarts at byte 0");
                upload = self.new_open_upload(Hasher::new(upload.hasher.algorithm()), 0);
                self.registry.discard(id).await?;
                self.registry.blobs.stage(id, 0).await?
            }
            staged => staged?,
        };
        upload.staged = Some(staged);
        self.registry.ledger.set(id, upload.offset);
        self.registry.reservations.set(id, &self.name, upload.offset);
        Ok(upload)
    }

    fn new_open_upload(&self, hasher: Hasher, offset: u64) -> OpenUpload {
        let recorded_at = self.registry.clock.elapsed();
        OpenUpload { repo: self.name.clone(), staged: None, hasher, offset, recorded: offset, recorded_at }
    }

    /// Verifies the digest of the bytes. On a mismatch the upload is cancelled.
    async fn verify(&self, id: UploadId, owned: &mut Owned, claimed: &Digest) -> Result<(), UploadError> {
        let upload = self.open_with_bytes(id, owned).await?;
        if upload.hasher.algorithm() != claimed.algorithm() {
            upload.hasher = super::receive::rehash(upload, claimed.algorithm()).await?;
        }
        let actual = upload.hasher.clone().finish();
        if actual == *claimed {
            return Ok(());
        }
        self.abandon(id, owned).await?;
        Err(UploadError::WrongDigest { claimed: claimed.clone(), actual })
    }

    async fn commit(&self, id: UploadId, owned: &mut Owned, digest: Digest) -> Result<(), UploadError> {
        let registry = &self.registry;
        let upload = self.open_with_bytes(id, owned).await?;
        let size = upload.offset;
        let key = BlobKey { digest, generation: Generation::random() };
        if !registry.metadata.record_intent(id, &key).await? {
            return Err(UploadError::Unknown);
        }
        let publish = registry.blobs.publish(id, &key);
        let allocated = match traces::start_step("store publish").run(publish).await {
            Ok(allocated) => allocated,
            Err(error) => {
                self.discard_failed(id, &key).await;
                return Err(error.into());
            }
        };
        let size = BlobSize { logical: size, allocated };
        let end = registry.end_of_upload();
        let _in_flight = registry.reservations.commit();
        let refused = match registry.metadata.commit_upload(id, &key, size, end).await? {
            Commit::Done => {
                registry.forget_staged(id);
                return Ok(());
            }
            Commit::Unknown => UploadError::Unknown,
            Commit::Refused(over) => {
                registry.metadata.cancel_upload(id, None, end).await?;
                ServiceError::OverQuota(over).into()
            }
        };
        registry.blobs.remove(&key).await?;
        registry.forget_staged(id);
        Err(refused)
    }

    /// Discards the bytes of an upload after a failed sync: their state on the disk is unknown, so they must not be
    /// used again. If even that cannot be recorded, the intent stays and is undone when the upload is next opened.
    async fn discard_failed(&self, id: UploadId, key: &BlobKey) {
        let now = self.registry.clock.now();
        let nothing = Progress { offset: 0, hash_state: Vec::new() };
        let discarded = async {
            self.registry.metadata.record_progress(id, nothing, now).await?;
            self.registry.blobs.remove(key).await?;
            self.registry.discard(id).await?;
            self.registry.metadata.forget_intent(id).await?;
            Ok::<_, ServiceError>(())
        };
        if let Err(error) = discarded.await {
            let error = Chain(&error);
            tracing::error!(upload = %id, %error, "discarding the bytes of a failed upload failed");
        }
    }

    async fn abandon(&self, id: UploadId, owned: &mut Owned) -> Result<(), UploadError> {
        *owned.slot = None;
        let end = self.registry.end_of_upload();
        let metadata = &self.registry.metadata;
        let was_there = self.registry.make_space(|| metadata.cancel_upload(id, None, end)).await?;
        self.registry.discard(id).await?;
        if was_there { Ok(()) } else { Err(UploadError::Unknown) }
    }
}

impl super::Registry {
    /// Undoes an interrupted commit: the bytes become staged again.
    ///
    /// It first records the intent once more, to test whether the metadata store accepts writes. A store
    /// whose last commit failed rejects them: that commit may be on the disk, and then a record that names
    /// the bytes reappears when the store is reopened. So the bytes must stay.
    pub(super) async fn undo_intent(&self, id: UploadId, intent: &BlobKey) -> Result<(), ServiceError> {
        if !self.metadata.record_intent(id, intent).await? {
            return Ok(());
        }
        self.blobs.unpublish(id, intent).await?;
        self.metadata.forget_intent(id).await?;
        Ok(())
    }

    /// Opens the bytes of an upload, unless they are open.
    pub(super) async fn open_bytes(&self, id: UploadId, upload: &mut OpenUpload) -> Result<(), ServiceError> {
        if upload.staged.is_none() {
            upload.staged = Some(self.blobs.stage(id, upload.offset).await?);
        }
        Ok(())
    }

    /// Returns the record of an upload that ends now.
    pub(crate) fn end_of_upload(&self) -> UploadEnd {
        let lease = self.settings.lease;
        let shortest = self.settings.shortest_lease();
        UploadEnd { now: self.clock.now(), lease, min_lease: shortest }
    }
}

/// Restores the recorded hash state; `None` if another version saved it.
fn restore_hasher(record: &UploadRecord) -> Option<Hasher> {
    if record.progress.offset == 0 {
        return Some(Hasher::new(record.algorithm));
    }
    Hasher::restore(record.algorithm, &record.progress.hash_state).ok()
}

/// Runs `work` to its end even if the client disconnects, so that nothing is left half done.
pub(super) async fn detached<T, F>(work: F) -> Result<T, UploadError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, UploadError>> + Send + 'static,
{
    let ended = tokio::spawn(traces::current().run(work)).await;
    ended
        .map_err(|error| ServiceError::Failed(Context::new("the task of the upload failed", error).into()))?
}
