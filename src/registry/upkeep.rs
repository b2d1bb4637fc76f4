//! Periodic maintenance of uploads, and their recovery after a start.

use std::time::Duration;

use super::ledger::BLOCK;
use super::sessions::{OpenUpload, Slot};
use super::{Registry, ServiceError, receive};
use crate::clock::Timestamp;
use crate::errors::Chain;
use crate::oci::UploadId;
use crate::store::StoredItem;

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
        if let Err(error) = receive::record_progress(self, id, upload).await {
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
