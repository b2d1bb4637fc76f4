//! Who owns an upload.
//!
//! One request owns an upload at a time. A newcomer tells the owner to stop and then waits until the
//! owner's running write has ended, before it learns any offset: so a stalled write can never land on top
//! of a later one, and two clients never mix their bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Fault;
use crate::oci::{Hasher, RepoName, UploadId};
use crate::store::StagedBytes;

/// An upload as this process has it open.
pub(super) struct OpenUpload {
    /// Whose it is.
    pub(super) repo: RepoName,
    /// Its bytes; opened with the first write.
    pub(super) staged: Option<Arc<dyn StagedBytes>>,
    /// The hash of the bytes before `offset`.
    pub(super) hasher: Hasher,
    /// How many bytes have been written.
    pub(super) offset: u64,
    /// How many of them are durable and noted.
    pub(super) noted: u64,
    /// When they were noted, by the monotonic clock.
    pub(super) noted_at: Duration,
}

/// What a session's owner has in hand. `None` before the record was read, and after a failure that makes
/// what is in memory worthless.
pub(super) type Slot = Option<OpenUpload>;

#[derive(Default)]
struct Session {
    slot: Arc<tokio::sync::Mutex<Slot>>,
    /// Tells whoever owns the upload, or waits for it, that somebody newer does.
    newest: Mutex<CancellationToken>,
}

/// The right to change an upload, until it is dropped.
pub(super) struct Owned {
    /// The upload.
    pub(super) slot: OwnedMutexGuard<Slot>,
    /// Cancelled when a newcomer wants it.
    pub(super) taken_over: CancellationToken,
}

/// The uploads that this process has open.
pub(super) struct Sessions {
    open: Mutex<HashMap<UploadId, Arc<Session>>>,
    bodies: Arc<Semaphore>,
}

impl Sessions {
    /// Sessions that take at most `parallel` bodies at once.
    pub(super) fn new(parallel: usize) -> Self {
        Self { open: Mutex::default(), bodies: Arc::new(Semaphore::new(parallel)) }
    }

    /// Waits for a turn to take a body.
    pub(super) async fn turn(&self, patience: Duration) -> Result<OwnedSemaphorePermit, Fault> {
        let bodies = Arc::clone(&self.bodies);
        match bodies.try_acquire_owned() {
            Ok(turn) => Ok(turn),
            Err(_) => {
                let turn = tokio::time::timeout(patience, Arc::clone(&self.bodies).acquire_owned()).await;
                turn.map_err(|_| Fault::Busy)?.map_err(|_| Fault::Busy)
            }
        }
    }

    /// Opens a session for a new upload.
    pub(super) fn begin(&self, id: UploadId, upload: OpenUpload) {
        let session = Session { slot: Arc::new(tokio::sync::Mutex::new(Some(upload))), ..Session::default() };
        self.lock().insert(id, Arc::new(session));
    }

    /// Makes the caller the upload's owner, as soon as whoever was has stopped. `None` if a still newer
    /// request came meanwhile.
    pub(super) async fn take_over(&self, id: UploadId) -> Option<Owned> {
        let session = Arc::clone(self.lock().entry(id).or_default());
        let taken_over = CancellationToken::new();
        let before = {
            let mut newest = session.newest.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *newest, taken_over.clone())
        };
        before.cancel();
        let slot = Arc::clone(&session.slot).lock_owned().await;
        (!taken_over.is_cancelled()).then_some(Owned { slot, taken_over })
    }

    /// The upload, if it is open here and nobody is using it.
    pub(super) fn if_idle(&self, id: UploadId) -> Option<OwnedMutexGuard<Slot>> {
        let session = self.lock().get(&id).map(|session| Arc::clone(&session.slot))?;
        session.try_lock_owned().ok()
    }

    /// Whether some request is using the upload.
    pub(super) fn is_busy(&self, id: UploadId) -> bool {
        self.lock().get(&id).is_some_and(|session| session.slot.try_lock().is_err())
    }

    /// The uploads that are open here.
    pub(super) fn ids(&self) -> Vec<UploadId> {
        self.lock().keys().copied().collect()
    }

    /// How many uploads are open here.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Closes a session that nobody uses or waits for. What it knew must have been noted, or be worthless.
    pub(super) fn close_if_unused(&self, id: UploadId) {
        let mut open = self.lock();
        let unused =
            |session: &Arc<Session>| Arc::strong_count(session) == 1 && Arc::strong_count(&session.slot) == 1;
        if open.get(&id).is_some_and(unused) {
            open.remove(&id);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<UploadId, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
