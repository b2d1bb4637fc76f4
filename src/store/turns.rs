//! Serialises access to staged bytes: one operation per upload at a time, and only through the newest handle.
//!
//! An operation holds its [`Turn`] until it has ended on the medium, even in a blocking task whose caller is gone. So
//! the next operation, through whichever method, starts after it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::StoreError;
use crate::oci::UploadId;

/// The reasons why a handle no longer works.
pub(super) mod closed {
    pub(crate) const RESTAGED: &str = "another request staged them again";
    pub(crate) const PUBLISHED: &str = "they were published";
    pub(crate) const DISCARDED: &str = "they were discarded";
    pub(crate) const FAILED: &str = "an earlier write or sync failed";
}

type Open<T> = Mutex<HashMap<UploadId, Weak<tokio::sync::Mutex<Slot<T>>>>>;

/// The uploads with a handle; `T` is their open state.
pub(super) struct Turns<T>(Arc<Open<T>>);

/// The state shared by the operations of one upload.
pub(super) struct Slot<T> {
    upload: UploadId,
    /// The number of the newest handle.
    epoch: u64,
    /// Why older handles no longer work.
    why: &'static str,
    /// The state the newest handle works on.
    state: Option<T>,
    open: Arc<Open<T>>,
}

/// The right to access the staged bytes of an upload.
pub(super) type Turn<T> = OwnedMutexGuard<Slot<T>>;

/// The handle with which an owner of staged bytes takes turns.
pub(super) struct Ticket<T> {
    slot: Arc<tokio::sync::Mutex<Slot<T>>>,
    epoch: u64,
}

impl<T> Turns<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(HashMap::new())))
    }

    /// Waits until nothing else accesses the staged bytes of the upload.
    pub(super) async fn take(&self, upload: UploadId) -> Turn<T> {
        self.slot(upload).lock_owned().await
    }

    fn slot(&self, upload: UploadId) -> Arc<tokio::sync::Mutex<Slot<T>>> {
        let mut open = self.0.lock();
        if let Some(slot) = open.get(&upload).and_then(Weak::upgrade) {
            return slot;
        }
        let slot = Slot { upload, epoch: 0, why: closed::RESTAGED, state: None, open: Arc::clone(&self.0) };
        let slot = Arc::new(tokio::sync::Mutex::new(slot));
        open.insert(upload, Arc::downgrade(&slot));
        slot
    }
}

impl<T> Slot<T> {
    /// Takes the open state away: older handles no longer work.
    pub(super) fn close(&mut self, why: &'static str) -> Option<T> {
        self.epoch += 1;
        self.why = why;
        self.state.take()
    }

    /// Returns the open state; `None` only after [`Slot::close`].
    pub(super) fn state(&mut self) -> Option<&mut T> {
        self.state.as_mut()
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        // The upload may have been opened again between the end of the last reference and now.
        if open.get(&self.upload).is_some_and(|slot| slot.strong_count() == 0) {
            open.remove(&self.upload);
        }
    }
}

/// Sets the open state, and returns the only ticket for it.
pub(super) fn open<T>(mut turn: Turn<T>, state: T) -> Ticket<T> {
    turn.close(closed::RESTAGED);
    turn.state = Some(state);
    Ticket { epoch: turn.epoch, slot: Arc::clone(OwnedMutexGuard::mutex(&turn)) }
}

impl<T> Ticket<T> {
    /// Waits for the turn of the holder of this ticket.
    ///
    /// # Errors
    /// [`StoreError::Closed`] after a newer owner, a publish, a discard or a failure.
    pub(super) async fn turn(&self) -> Result<Turn<T>, StoreError> {
        let turn = Arc::clone(&self.slot).lock_owned().await;
        if turn.epoch != self.epoch {
            return Err(StoreError::Closed(turn.why));
        }
        Ok(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_upload_without_handles_is_forgotten() {
        let turns = Turns::new();
        let upload = UploadId::random();
        let ticket = open(turns.take(upload).await, ());
        assert!(ticket.turn().await.is_ok());
        drop(ticket);
        assert!(turns.0.lock().is_empty());
    }

    #[tokio::test]
    async fn only_the_newest_ticket_works() {
        let turns = Turns::new();
        let upload = UploadId::random();
        let old = open(turns.take(upload).await, 1);
        let new = open(turns.take(upload).await, 2);
        assert!(matches!(old.turn().await, Err(StoreError::Closed(closed::RESTAGED))));
        assert_eq!(new.turn().await.expect("open").state(), Some(&mut 2));
        assert_eq!(turns.take(upload).await.close(closed::PUBLISHED), Some(2));
        assert!(matches!(new.turn().await, Err(StoreError::Closed(closed::PUBLISHED))));
    }
}
