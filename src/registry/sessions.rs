//! Ownership of open uploads.
//!
//! One request owns an upload at a time. A new request asks the owner to stop and waits until the owner's running write
//! has ended before it learns the offset. So a stalled write can never land on top of a later one, and two clients
//! never mix their bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::ServiceError;
use crate::fair::{Client, FairQueue, Turn};
use crate::oci::{Hasher, RepoName, UploadId};
use crate::store::StagedBytes;

/// How many idle uploads stay open: each takes memory and a file, and a process has a limited number of files.
const MAX_AT_REST: usize = 256;

/// The maximum number of uploads in memory, in use or not. Others are only in the database, which takes longer to read.
const MAX_OPEN: usize = 4096;

/// How many large manifests are held in memory at once. With its parsed form and the database's copies each takes
/// several times its size.
const MAX_LARGE_MANIFESTS: usize = 8;

/// An upload that is open in this process.
pub(super) struct OpenUpload {
    /// The repository it belongs to.
    pub(super) repo: RepoName,
    /// Its bytes; opened by the first write.
    pub(super) staged: Option<Arc<dyn StagedBytes>>,
    /// The hash of the bytes before `offset`.
    pub(super) hasher: Hasher,
    /// How many bytes have been written.
    pub(super) offset: u64,
    /// How many of them are durable and recorded.
    pub(super) recorded: u64,
    /// When they were recorded, by the monotonic clock.
    pub(super) recorded_at: Duration,
}

/// The upload of a session. `None` before its record has been read, and after a failure that makes the state in memory
/// unusable.
pub(super) type Slot = Option<OpenUpload>;

#[derive(Default)]
struct Session {
    /// The repository the upload is known to belong to. `None` while only a job has it open.
    repo: Option<RepoName>,
    slot: Arc<tokio::sync::Mutex<Slot>>,
    /// Cancelled to tell the owner, and requests waiting to become the owner, that a newer request has arrived.
    newest: Mutex<CancellationToken>,
}

/// The right to change an upload, until it is dropped. A session that holds no upload then ends as well. The order of
/// the fields matters: they are dropped in this order.
pub(super) struct Owned {
    /// The upload.
    pub(super) slot: OwnedMutexGuard<Slot>,
    /// Cancelled when a newer request wants the upload.
    pub(super) taken_over: CancellationToken,
    _ending: Ending,
}

/// Closes the session on drop, if it is no longer needed.
struct Ending {
    id: UploadId,
    open: Arc<OpenSessions>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.open.close_if_empty(self.id);
    }
}

#[derive(Default)]
struct OpenSessions(Mutex<HashMap<UploadId, Arc<Session>>>);

impl OpenSessions {
    /// Closes a session that holds no upload, if no request uses it or waits for it.
    fn close_if_empty(&self, id: UploadId) {
        let mut open = self.lock();
        let is_unused =
            |session: &Arc<Session>| Arc::strong_count(session) == 1 && Arc::strong_count(&session.slot) == 1;
        let is_empty = |session: &Arc<Session>| session.slot.try_lock().is_ok_and(|slot| slot.is_none());
        if open.get(&id).is_some_and(|session| is_unused(session) && is_empty(session)) {
            open.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<Session>>> {
        self.0.lock()
    }
}

/// The uploads that are open in this process.
pub(super) struct Sessions {
    open: Arc<OpenSessions>,
    bodies: Arc<FairQueue>,
    manifests: Arc<FairQueue>,
}

impl Sessions {
    /// Creates sessions that receive at most `parallel` bodies at once.
    pub(super) fn new(parallel: usize) -> Self {
        Self {
            open: Arc::default(),
            bodies: FairQueue::new(parallel),
            manifests: FairQueue::new(MAX_LARGE_MANIFESTS),
        }
    }

    /// Waits for a turn to receive a body.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] after `max_wait`.
    pub(super) async fn turn(&self, client: &Client, max_wait: Duration) -> Result<Turn, ServiceError> {
        let turn = tokio::time::timeout(max_wait, self.bodies.take(client)).await;
        turn.map_err(|_| ServiceError::Busy)
    }

    /// Waits for a turn to hold a large manifest.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] after `max_wait`.
    pub(super) async fn manifest_turn(
        &self,
        client: &Client,
        max_wait: Duration,
    ) -> Result<Turn, ServiceError> {
        let turn = tokio::time::timeout(max_wait, self.manifests.take(client)).await;
        turn.map_err(|_| ServiceError::Busy)
    }

    /// Opens a session for a new upload. Once [`MAX_OPEN`] are open, the upload is only in the database.
    pub(super) fn open(&self, id: UploadId, upload: OpenUpload) {
        let mut open = self.open.lock();
        if open.len() >= MAX_OPEN {
            return;
        }
        let repo = Some(upload.repo.clone());
        let slot = Arc::new(tokio::sync::Mutex::new(Some(upload)));
        open.insert(id, Arc::new(Session { repo, slot, ..Session::default() }));
    }

    /// Returns whether an upload of this repository is open here.
    pub(super) fn has(&self, id: UploadId, repo: &RepoName) -> bool {
        self.open.lock().get(&id).is_some_and(|session| session.repo.as_ref() == Some(repo))
    }

    /// Makes the caller the owner of the upload as soon as the previous owner has stopped. Returns `None` if a newer
    /// request arrived meanwhile. A caller acting for a repository must know that the upload exists: an unknown id must
    /// neither interrupt anything nor be remembered.
    pub(super) async fn take_over(&self, id: UploadId, repo: Option<&RepoName>) -> Option<Owned> {
        // Created first, so that it also works if the wait below is cancelled.
        let ending = Ending { id, open: Arc::clone(&self.open) };
        let session = {
            let mut open = self.open.lock();
            let new = || Arc::new(Session { repo: repo.cloned(), ..Session::default() });
            Arc::clone(open.entry(id).or_insert_with(new))
        };
        let taken_over = CancellationToken::new();
        let before = {
            let mut newest = session.newest.lock();
            std::mem::replace(&mut *newest, taken_over.clone())
        };
        before.cancel();
        let slot = Arc::clone(&session.slot).lock_owned().await;
        drop(session);
        let owned = Owned { slot, taken_over, _ending: ending };
        (!owned.taken_over.is_cancelled()).then_some(owned)
    }

    /// Returns the upload if it is open here and no request is using it.
    pub(super) fn if_idle(&self, id: UploadId) -> Option<OwnedMutexGuard<Slot>> {
        let session = self.open.lock().get(&id).map(|session| Arc::clone(&session.slot))?;
        session.try_lock_owned().ok()
    }

    /// Returns whether a request is using the upload.
    pub(super) fn is_busy(&self, id: UploadId) -> bool {
        self.open.lock().get(&id).is_some_and(|session| session.slot.try_lock().is_err())
    }

    /// Returns the uploads that are open here.
    pub(super) fn ids(&self) -> Vec<UploadId> {
        self.open.lock().keys().copied().collect()
    }

    /// Returns whether so many uploads are open that idle ones have to be closed.
    pub(super) fn is_crowded(&self) -> bool {
        self.open.lock().len() > MAX_AT_REST
    }

    /// Closes a session that holds no upload, if no request uses it or waits for it.
    pub(super) fn close_if_empty(&self, id: UploadId) {
        self.open.close_if_empty(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_turn_times_out() {
        let sessions = Sessions::new(1);
        let turn = sessions.turn(&Client::Local, Duration::ZERO).await.expect("free");
        let other = Client::User("other".into());
        let wait = sessions.turn(&other, Duration::from_secs(30)).await;
        assert!(matches!(wait, Err(ServiceError::Busy)));
        assert!(turn.is_recalled());
        drop(turn);
        sessions.turn(&other, Duration::ZERO).await.expect("free");
    }

    fn upload() -> OpenUpload {
        OpenUpload {
            repo: "app".parse().expect("a name"),
            staged: None,
            hasher: Hasher::new(Algorithm::Sha256),
            offset: 0,
            recorded: 0,
            recorded_at: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn the_number_of_uploads_in_memory_is_limited() {
        let sessions = Sessions::new(1);
        let ids: Vec<UploadId> = (0..MAX_OPEN + 100).map(|_| UploadId::random()).collect();
        ids.iter().for_each(|id| sessions.open(*id, upload()));
        assert_eq!(sessions.ids().len(), MAX_OPEN);
        let repo = upload().repo;
        for id in &ids {
            let owned = sessions.take_over(*id, Some(&repo)).await.expect("owned");
            assert!(sessions.has(*id, &repo), "an owned upload is known");
            drop(owned);
        }
        assert_eq!(sessions.ids().len(), MAX_OPEN, "sessions without an upload end");
    }

    #[tokio::test]
    async fn a_session_ends_with_its_last_owner() {
        let sessions = Sessions::new(1);
        let id = UploadId::random();
        sessions.open(id, upload());
        let mut first = sessions.take_over(id, None).await.expect("owned");
        *first.slot = None;
        let second = sessions.take_over(id, None);
        let second = tokio::join!(second, async { drop(first) }).0.expect("owned");
        assert_eq!(sessions.ids(), [id]);
        drop(second);
        assert!(sessions.ids().is_empty());
    }
}
