//! Uploads of blobs.
//!
//! Bytes are hashed as they arrive and written in parallel. Offset and hash state are recorded only for durable bytes.
//! An upload finishes in steps, each of which survives a crash: the intent is recorded, the bytes are moved into place
//! and synced, and one transaction turns the upload into a blob. A start undoes what a crash interrupted between them.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::budget::BLOCK;
use super::receive::{detached, record_progress, rehash};
use super::sessions::{OpenUpload, Owned, Slot};
use super::{ClientBody, Registry, Repository, ServiceError, UploadError};
use crate::clock::Timestamp;
use crate::errors::Chain;
use crate::metadata::{BlobSize, Commit, Progress, UploadCreation, UploadEnd, UploadRecord};
use crate::oci::{Algorithm, BlobKey, Digest, Generation, Hasher, UploadId};
use crate::store::{StoreError, StoredItem};
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
            upload.hasher = rehash(upload, claimed.algorithm()).await?;
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

impl Registry {
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

/// How long an idle upload stays open in this process.
const IDLE_OPEN_TIME: Duration = Duration::from_secs(60);

/// How long the last bytes of an idle upload may be unrecorded.
const CHECKPOINT_DELAY: Duration = Duration::from_secs(2);

/// From this size on, the bytes of an interrupted body are made durable when many uploads are open.
const MIN_SYNC_BYTES: u64 = 1 << 20;

/// A limit on counting idle uploads, larger than any real number of them.
const MAX_COUNTED: usize = 1_000_000;

impl Registry {
    /// Undoes what a crash interrupted. Call it once, before the first request, on a blob store known to belong to this
    /// metadata. Returns how many commits it undid.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn recover(&self) -> Result<usize, ServiceError> {
        let intended = self.metadata.intended_uploads().await?;
        for (id, intent) in &intended {
            self.undo_intent(*id, intent).await?;
        }
        self.metadata.abandon_adopting().await?;
        self.discard_orphans().await?;
        Ok(intended.len())
    }

    /// Discards staged bytes of uploads that no longer exist: a crash came between the two removals. The list of staged
    /// files is as short as the list of uploads. The bytes of existing uploads are counted from now on.
    async fn discard_orphans(&self) -> Result<(), ServiceError> {
        for (id, _) in self.blobs.list(None).await?.uploads {
            let Some(upload) = self.metadata.upload_status(id).await? else {
                self.discard(id).await?;
                continue;
            };
            let allocated = self.blobs.allocated(StoredItem::Upload(id)).await?;
            self.ledger.set(id, allocated);
            // More bytes than recorded may have arrived before the process ended; opening the upload truncates them.
            let is_longer = allocated > upload.offset.next_multiple_of(BLOCK);
            let bytes = if is_longer { allocated } else { upload.offset };
            self.reservations.set(id, &upload.repo, bytes);
        }
        Ok(())
    }

    /// Discards the staged bytes of an upload and stops counting them.
    pub(super) async fn discard(&self, id: UploadId) -> Result<(), ServiceError> {
        self.blobs.discard(id).await?;
        self.forget_staged(id);
        self.pressure.wake_writers();
        Ok(())
    }

    /// Stops counting the staged bytes of an upload: they have been removed or have become a blob.
    pub(super) fn forget_staged(&self, id: UploadId) {
        self.ledger.forget(id);
        self.reservations.forget(id);
    }

    /// Records the progress of idle uploads and closes those that have been idle for long. With `all` it records every
    /// one of them at once, for a shutdown. An upload whose progress cannot be recorded continues from its last
    /// recorded progress.
    pub async fn checkpoint_uploads(&self, all: bool) {
        let now = self.clock.elapsed();
        for id in self.sessions.ids() {
            let Some(mut slot) = self.sessions.if_idle(id) else {
                continue;
            };
            let idle = slot.as_ref().map_or(IDLE_OPEN_TIME, |upload| now.saturating_sub(upload.recorded_at));
            if all || idle >= CHECKPOINT_DELAY {
                self.checkpoint(id, &mut slot).await;
            }
            if idle >= IDLE_OPEN_TIME {
                *slot = None;
            }
            drop(slot);
            self.sessions.close_if_empty(id);
        }
    }

    /// Closes an upload after its body has ended, if many are open. That costs one more sync, but leaves files to other
    /// uploads and to pulls.
    pub(super) async fn close_if_crowded(&self, id: UploadId, slot: &mut Slot) {
        if self.sessions.is_crowded() {
            self.checkpoint(id, slot).await;
            *slot = None;
        }
    }

    /// The same for an upload whose body was interrupted. A few bytes are not worth a sync: the client sends them
    /// again.
    pub(super) async fn close_interrupted(&self, id: UploadId, slot: &mut Slot) {
        if !self.sessions.is_crowded() {
            return;
        }
        if slot.as_ref().is_some_and(|upload| upload.offset - upload.recorded >= MIN_SYNC_BYTES) {
            self.checkpoint(id, slot).await;
        }
        *slot = None;
    }

    /// The same for an upload whose body has not started, if all its bytes are recorded.
    pub(super) fn close_bytes_if_crowded(&self, upload: &mut OpenUpload) {
        if upload.recorded == upload.offset && self.sessions.is_crowded() {
            upload.staged = None;
        }
    }

    async fn checkpoint(&self, id: UploadId, slot: &mut Slot) {
        let Some(upload) = slot else {
            return;
        };
        if upload.recorded == upload.offset || upload.staged.is_none() {
            return;
        }
        if let Err(error) = record_progress(self, id, upload).await {
            let error = Chain(&error);
            tracing::warn!(upload = %id, %error, "recording the progress of an upload failed");
            *slot = None;
        }
    }

    /// Returns how many uploads [`Registry::expire_uploads`] would end.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn idle_uploads(&self, expire: Duration) -> Result<u64, ServiceError> {
        let idle = self.metadata.idle_uploads(self.clock.now().minus(expire), MAX_COUNTED).await?;
        Ok(idle.into_iter().filter(|id| !self.sessions.is_busy(*id)).count() as u64)
    }

    /// Ends up to `limit` uploads that have been idle for `expire`. Returns how many.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn expire_uploads(&self, expire: Duration, limit: usize) -> Result<usize, ServiceError> {
        let idle_since = self.clock.now().minus(expire);
        let mut expired = 0;
        for id in self.metadata.idle_uploads(idle_since, limit).await? {
            if !self.sessions.is_busy(id) {
                expired += usize::from(self.expire_upload(id, idle_since).await?);
            }
        }
        Ok(expired)
    }

    /// Ends an upload if it has been idle since `idle_since`. Returns whether it did.
    pub(super) async fn expire_upload(
        &self,
        id: UploadId,
        idle_since: Timestamp,
    ) -> Result<bool, ServiceError> {
        // A concurrent request may take the upload over first: then this waits, and finds it used or gone. Otherwise
        // the request finds it gone.
        let Some(mut owned) = self.sessions.take_over(id, None).await else {
            return Ok(false);
        };
        let end = self.end_of_upload();
        let expired = self.make_space(|| self.metadata.cancel_upload(id, Some(idle_since), end)).await?;
        if expired {
            *owned.slot = None;
            self.discard(id).await?;
            self.pressure.record_freed();
        }
        Ok(expired)
    }
}
