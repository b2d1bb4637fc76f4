//! Serialises access to staged bytes: one operation per upload at a time, and only through the newest handle.
//!
//! An operation holds its [`UploadGuard`] until its I/O has ended, even in a blocking task whose caller is gone. So the
//! next operation on the upload, whatever it is, starts after that.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::error::StoreError;
use crate::oci::UploadId;

/// The reasons why a handle no longer works. They complete the message of [`StoreError::Closed`], where "they" are the
/// staged bytes.
pub(super) mod closed {
    pub(crate) const RESTAGED: &str = "another request staged them again";
    pub(crate) const PUBLISHED: &str = "they were published";
    pub(crate) const DISCARDED: &str = "they were discarded";
    pub(crate) const FAILED: &str = "an earlier write or sync failed";
}

/// The locks of all uploads that are in use.
type LockMap<T> = Mutex<HashMap<UploadId, Weak<tokio::sync::Mutex<LockedUpload<T>>>>>;

/// A lock for each upload. `T` is what an open handle needs to access the staged bytes, such as a file.
pub(super) struct UploadLocks<T>(Arc<LockMap<T>>);

/// What the lock of one upload protects.
pub(super) struct LockedUpload<T> {
    upload: UploadId,
    /// The number of the newest handle.
    epoch: u64,
    /// Why older handles no longer work.
    closed_reason: &'static str,
    /// The state of the newest handle; `None` if it is closed.
    state: Option<T>,
    locks: Arc<LockMap<T>>,
}

/// Exclusive access to the staged bytes of an upload, until it is dropped.
pub(super) type UploadGuard<T> = OwnedMutexGuard<LockedUpload<T>>;

/// The lock of an upload, as one of its handles sees it: it can be acquired only while the handle is the newest.
pub(super) struct HandleLock<T> {
    upload: Arc<tokio::sync::Mutex<LockedUpload<T>>>,
    epoch: u64,
}

impl<T> UploadLocks<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(HashMap::new())))
    }

    /// Waits until nothing else accesses the staged bytes of the upload.
    pub(super) async fn acquire(&self, upload: UploadId) -> UploadGuard<T> {
        self.lock_of(upload).lock_owned().await
    }

    fn lock_of(&self, upload: UploadId) -> Arc<tokio::sync::Mutex<LockedUpload<T>>> {
        let mut locks = self.0.lock();
        if let Some(lock) = locks.get(&upload).and_then(Weak::upgrade) {
            return lock;
        }
        let locked = LockedUpload {
            upload,
            epoch: 0,
            closed_reason: closed::RESTAGED,
            state: None,
            locks: Arc::clone(&self.0),
        };
        let lock = Arc::new(tokio::sync::Mutex::new(locked));
        locks.insert(upload, Arc::downgrade(&lock));
        lock
    }
}

impl<T> LockedUpload<T> {
    /// Closes all handles, and returns the state of the newest one.
    pub(super) fn close(&mut self, reason: &'static str) -> Option<T> {
        self.epoch += 1;
        self.closed_reason = reason;
        self.state.take()
    }

    /// Returns the state of the newest handle; `None` only after [`LockedUpload::close`].
    pub(super) fn state(&mut self) -> Option<&mut T> {
        self.state.as_mut()
    }
}

impl<T> Drop for LockedUpload<T> {
    fn drop(&mut self) {
        let mut locks = self.locks.lock();
        // Another request may have created a new lock for the upload after the last reference to this one was dropped.
        if locks.get(&self.upload).is_some_and(|lock| lock.strong_count() == 0) {
            locks.remove(&self.upload);
        }
    }
}

/// Closes all older handles of the upload, and returns the lock for a new one with this state.
pub(super) fn open_handle<T>(mut guard: UploadGuard<T>, state: T) -> HandleLock<T> {
    guard.close(closed::RESTAGED);
    guard.state = Some(state);
    HandleLock { epoch: guard.epoch, upload: Arc::clone(OwnedMutexGuard::mutex(&guard)) }
}

impl<T> HandleLock<T> {
    /// Waits until nothing else accesses the staged bytes of the upload.
    ///
    /// # Errors
    /// [`StoreError::Closed`] if the handle is no longer the newest one, or was closed by a publish, a discard or a
    /// failure.
    pub(super) async fn acquire(&self) -> Result<UploadGuard<T>, StoreError> {
        let guard = Arc::clone(&self.upload).lock_owned().await;
        if guard.epoch != self.epoch {
            return Err(StoreError::Closed(guard.closed_reason));
        }
        Ok(guard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_lock_of_an_upload_without_handles_is_removed() {
        let locks = UploadLocks::new();
        let upload = UploadId::random();
        let handle = open_handle(locks.acquire(upload).await, ());
        assert!(handle.acquire().await.is_ok());
        drop(handle);
        assert!(locks.0.lock().is_empty());
    }

    #[tokio::test]
    async fn only_the_newest_handle_works() {
        let locks = UploadLocks::new();
        let upload = UploadId::random();
        let old = open_handle(locks.acquire(upload).await, 1);
        let new = open_handle(locks.acquire(upload).await, 2);
        assert!(matches!(old.acquire().await, Err(StoreError::Closed(closed::RESTAGED))));
        assert_eq!(new.acquire().await.expect("open").state(), Some(&mut 2));
        assert_eq!(locks.acquire(upload).await.close(closed::PUBLISHED), Some(2));
        assert!(matches!(new.acquire().await, Err(StoreError::Closed(closed::PUBLISHED))));
    }
}
