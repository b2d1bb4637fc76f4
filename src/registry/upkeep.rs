//! What uploads need from time to time, and once after a start.

use std::time::Duration;

use super::ledger::BLOCK;
use super::sessions::{OpenUpload, Slot};
use super::{Registry, ServiceError, receive};
use crate::clock::Timestamp;
use crate::oci::UploadId;
use crate::store::Spent;

/// How long an upload is kept open in this process after its last byte.
const KEEP_OPEN: Duration = Duration::from_secs(60);

/// How long its last bytes may be unrecorded while nobody writes.
const SETTLE: Duration = Duration::from_secs(2);

/// From how many bytes on a body that broke off is made durable where many uploads are open.
const WORTH_SYNC: u64 = 1 << 20;

/// More idle uploads than anybody counts.
const MOST_COUNTED: usize = 1_000_000;

impl Registry {
    /// Undoes what a crash interrupted. To be called once, before the first request, on a store that is known
    /// to belong to these facts. Tells how many commits it undid.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn recover(&self) -> Result<usize, ServiceError> {
        let intended = self.metadata.intended_uploads().await?;
        for (id, intent) in &intended {
            self.undo_intent(*id, intent).await?;
        }
        self.discard_strays().await?;
        Ok(intended.len())
    }

    /// Throws away staged bytes of uploads that are no more: a crash came between the two. Their list is as
    /// short as that of the uploads. Those of the others are counted from now on.
    async fn discard_strays(&self) -> Result<(), ServiceError> {
        for (id, _) in self.blobs.list(None).await?.uploads {
            let Some(upload) = self.metadata.upload_place(id).await? else {
                self.discard(id).await?;
                continue;
            };
            let allocated = self.blobs.allocated(Spent::Upload(id)).await?;
            self.ledger.set(id, allocated);
            // More than is recorded may have come before the program ended; opening the upload cuts that off.
            let is_longer = allocated > upload.offset.next_multiple_of(BLOCK);
            let bytes = if is_longer { allocated } else { upload.offset };
            self.reservations.set(id, &upload.repo, bytes);
        }
        Ok(())
    }

    /// Throws the staged bytes of an upload away, and counts them no more.
    pub(super) async fn discard(&self, id: UploadId) -> Result<(), ServiceError> {
        self.blobs.discard(id).await?;
        self.forget_staged(id);
        self.pressure.look_again();
        Ok(())
    }

    /// Counts the staged bytes of an upload no more: they are gone, or a blob's.
    pub(super) fn forget_staged(&self, id: UploadId) {
        self.ledger.forget(id);
        self.reservations.forget(id);
    }

    /// Records how far the uploads have come that nobody is writing to, and closes those that nobody has
    /// written to for long. With `all` it waits for nothing: the server is about to end.
    ///
    /// # Errors
    /// None: an upload whose progress cannot be recorded goes on from what was recorded before.
    pub async fn settle_uploads(&self, all: bool) {
        let now = self.clock.elapsed();
        for id in self.sessions.ids() {
            let Some(mut slot) = self.sessions.if_idle(id) else {
                continue;
            };
            let idle = slot.as_ref().map_or(KEEP_OPEN, |upload| now.saturating_sub(upload.noted_at));
            if all || idle >= SETTLE {
                self.settle(id, &mut slot).await;
            }
            if idle >= KEEP_OPEN {
                *slot = None;
            }
            drop(slot);
            self.sessions.close_if_empty(id);
        }
    }

    /// Closes an upload whose body has ended at once, where many are open: with a sync more for it, the others
    /// and whoever pulls keep their files.
    pub(super) async fn rest(&self, id: UploadId, slot: &mut Slot) {
        if self.sessions.is_crowded() {
            self.settle(id, slot).await;
            *slot = None;
        }
    }

    /// Closes an upload whose body broke off, likewise. A few bytes are not worth a sync: its client sends them again.
    pub(super) async fn break_off(&self, id: UploadId, slot: &mut Slot) {
        if !self.sessions.is_crowded() {
            return;
        }
        if slot.as_ref().is_some_and(|upload| upload.offset - upload.noted >= WORTH_SYNC) {
            self.settle(id, slot).await;
        }
        *slot = None;
    }

    /// Closes the bytes of an upload whose body has not begun, likewise, if all of them are recorded.
    pub(super) fn close_bytes_if_crowded(&self, upload: &mut OpenUpload) {
        if upload.noted == upload.offset && self.sessions.is_crowded() {
            upload.staged = None;
        }
    }

    async fn settle(&self, id: UploadId, slot: &mut Slot) {
        let Some(upload) = slot else {
            return;
        };
        if upload.noted == upload.offset || upload.staged.is_none() {
            return;
        }
        if let Err(error) = receive::note(self, id, upload).await {
            tracing::warn!(upload = %id, %error, "an upload's progress could not be recorded");
            *slot = None;
        }
    }

    /// How many uploads [`Registry::expire_uploads`] would end.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn idle_uploads(&self, expire: Duration) -> Result<u64, ServiceError> {
        let idle = self.metadata.idle_uploads(self.clock.now().minus(expire), MOST_COUNTED).await?;
        Ok(idle.into_iter().filter(|id| !self.sessions.is_busy(*id)).count() as u64)
    }

    /// Ends up to `limit` uploads of which nothing was heard for `expire`. Tells how many.
    ///
    /// # Errors
    /// [`ServiceError`].
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

    /// Ends an upload if nothing was heard of it since `idle_since`. Whether it did.
    pub(super) async fn expire_upload(
        &self,
        id: UploadId,
        idle_since: Timestamp,
    ) -> Result<bool, ServiceError> {
        // A request that comes just now either takes the upload over first, and then this waits and
        // finds it touched or gone; or it finds it gone.
        let Some(mut owned) = self.sessions.take_over(id, None).await else {
            return Ok(false);
        };
        let end = self.end_of_upload();
        let expired = self.make_space(|| self.metadata.cancel_upload(id, Some(idle_since), end)).await?;
        if expired {
            *owned.slot = None;
            self.discard(id).await?;
            self.pressure.note_freed();
        }
        Ok(expired)
    }
}
