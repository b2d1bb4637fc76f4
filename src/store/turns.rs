//! Who may touch an upload's staged bytes: one operation at a time, and only through the newest handle.
//!
//! An operation holds its [`Turn`] until it has ended on the medium, also in a blocking task whose caller is
//! long gone. So whoever comes next, through whichever method, comes after it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use super::StoreError;
use crate::oci::UploadId;

/// Why a handle no longer works.
pub(super) mod closed {
    pub(crate) const STAGED_ANEW: &str = "somebody else staged them anew";
    pub(crate) const PUBLISHED: &str = "they were published";
    pub(crate) const DISCARDED: &str = "they were discarded";
    pub(crate) const FAILED: &str = "a write or sync of them failed before";
}

type Open<T> = Mutex<HashMap<UploadId, Weak<tokio::sync::Mutex<Slot<T>>>>>;

/// The uploads that somebody has a handle of, with a `T` for what is open.
pub(super) struct Turns<T>(Arc<Open<T>>);

/// What one upload's operations share.
pub(super) struct Slot<T> {
    upload: UploadId,
    /// Which handle is the newest.
    epoch: u64,
    /// Why the ones before it no longer work.
    why: &'static str,
    /// What the newest handle works on.
    state: Option<T>,
    open: Arc<Open<T>>,
}

/// The right to touch an upload's staged bytes.
pub(super) type Turn<T> = OwnedMutexGuard<Slot<T>>;

/// What an owner of staged bytes takes its turns with.
pub(super) struct Ticket<T> {
    slot: Arc<tokio::sync::Mutex<Slot<T>>>,
    epoch: u64,
}

impl<T> Turns<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(HashMap::new())))
    }

    /// Waits until nothing else touches the upload's staged bytes.
    pub(super) async fn take(&self, upload: UploadId) -> Turn<T> {
        self.slot(upload).lock_owned().await
    }

    fn slot(&self, upload: UploadId) -> Arc<tokio::sync::Mutex<Slot<T>>> {
        let mut open = lock(&self.0);
        if let Some(slot) = open.get(&upload).and_then(Weak::upgrade) {
            return slot;
        }
        let slot =
            Slot { upload, epoch: 0, why: closed::STAGED_ANEW, state: None, open: Arc::clone(&self.0) };
        let slot = Arc::new(tokio::sync::Mutex::new(slot));
        open.insert(upload, Arc::downgrade(&slot));
        slot
    }
}

impl<T> Slot<T> {
    /// Takes away what is open: no handle that was given before works any more.
    pub(super) fn close(&mut self, why: &'static str) -> Option<T> {
        self.epoch += 1;
        self.why = why;
        self.state.take()
    }

    /// What is open; `None` only after [`Slot::close`].
    pub(super) fn state(&mut self) -> Option<&mut T> {
        self.state.as_mut()
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        // Somebody may have opened the upload again between our last reference's end and now.
        if open.get(&self.upload).is_some_and(|slot| slot.strong_count() == 0) {
            open.remove(&self.upload);
        }
    }
}

/// Makes `state` what is open, and gives the only ticket to it.
pub(super) fn open<T>(mut turn: Turn<T>, state: T) -> Ticket<T> {
    turn.close(closed::STAGED_ANEW);
    turn.state = Some(state);
    Ticket { epoch: turn.epoch, slot: Arc::clone(OwnedMutexGuard::mutex(&turn)) }
}

impl<T> Ticket<T> {
    /// Waits for the turn of this ticket's holder.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when a newer owner, a publish, a discard or a failure came in between.
    pub(super) async fn turn(&self) -> Result<Turn<T>, StoreError> {
        let turn = Arc::clone(&self.slot).lock_owned().await;
        if turn.epoch != self.epoch {
            return Err(StoreError::Closed(turn.why));
        }
        Ok(turn)
    }
}

fn lock<T>(open: &Open<T>) -> MutexGuard<'_, HashMap<UploadId, Weak<tokio::sync::Mutex<Slot<T>>>>> {
    // The map is whole between any two statements that could panic.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_holds_is_forgotten() {
        let turns = Turns::new();
        let upload = UploadId::random();
        let ticket = open(turns.take(upload).await, ());
        assert!(ticket.turn().await.is_ok());
        drop(ticket);
        assert!(lock(&turns.0).is_empty());
    }

    #[tokio::test]
    async fn only_the_newest_ticket_works() {
        let turns = Turns::new();
        let upload = UploadId::random();
        let old = open(turns.take(upload).await, 1);
        let new = open(turns.take(upload).await, 2);
        assert!(matches!(old.turn().await, Err(StoreError::Closed(closed::STAGED_ANEW))));
        assert_eq!(new.turn().await.expect("open").state(), Some(&mut 2));
        assert_eq!(turns.take(upload).await.close(closed::PUBLISHED), Some(2));
        assert!(matches!(new.turn().await, Err(StoreError::Closed(closed::PUBLISHED))));
    }
}
