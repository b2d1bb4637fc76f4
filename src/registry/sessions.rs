//! Who owns an upload.
//!
//! One request owns an upload at a time. A newcomer tells the owner to stop and then waits until the
//! owner's running write has ended, before it learns any offset: so a stalled write can never land on top
//! of a later one, and two clients never mix their bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::ServiceError;
use crate::fair::{Client, FairQueue, Turn};
use crate::oci::{Hasher, RepoName, UploadId};
use crate::store::StagedBytes;

/// How many uploads stay open at rest: each holds memory and a file, and a process may have only so many.
const MAX_AT_REST: usize = 256;

/// The most uploads in memory, in use or not. More have their record in the database only, which takes longer to read.
const MAX_OPEN: usize = 4096;

/// How many large manifests are held in memory at once: with its parsed form and the database's copies each takes
/// several times its size.
const MAX_LARGE_MANIFESTS: usize = 8;

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
    /// The repository that the upload is known to belong to. `None` while only a job has it open.
    repo: Option<RepoName>,
    slot: Arc<tokio::sync::Mutex<Slot>>,
    /// Tells whoever owns the upload, or waits for it, that somebody newer does.
    newest: Mutex<CancellationToken>,
}

/// The right to change an upload, until it is dropped. A session that holds no upload then ends too. Fields are dropped in
/// this order.
pub(super) struct Owned {
    /// The upload.
    pub(super) slot: OwnedMutexGuard<Slot>,
    /// Cancelled when a newcomer wants it.
    pub(super) taken_over: CancellationToken,
    _ending: Ending,
}

/// Closes the session when it is dropped, if the session is of no more use.
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The uploads that this process has open.
pub(super) struct Sessions {
    open: Arc<OpenSessions>,
    bodies: Arc<FairQueue>,
    manifests: Arc<FairQueue>,
}

impl Sessions {
    /// Sessions that take at most `parallel` bodies at once.
    pub(super) fn new(parallel: usize) -> Self {
        Self {
            open: Arc::default(),
            bodies: FairQueue::new(parallel),
            manifests: FairQueue::new(MAX_LARGE_MANIFESTS),
        }
    }

    /// Waits for a turn to take bytes of a body.
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

    /// Opens a session for a new upload. Beyond [`MAX_OPEN`] the upload has its record in the database only.
    pub(super) fn begin(&self, id: UploadId, upload: OpenUpload) {
        let mut open = self.open.lock();
        if open.len() >= MAX_OPEN {
            return;
        }
        let repo = Some(upload.repo.clone());
        let slot = Arc::new(tokio::sync::Mutex::new(Some(upload)));
        open.insert(id, Arc::new(Session { repo, slot, ..Session::default() }));
    }

    /// Whether an upload of this repository is open here.
    pub(super) fn has(&self, id: UploadId, repo: &RepoName) -> bool {
        self.open.lock().get(&id).is_some_and(|session| session.repo.as_ref() == Some(repo))
    }

    /// Makes the caller the upload's owner, as soon as whoever was has stopped. `None` if a still newer
    /// request came meanwhile. A caller that acts for a repository must know that the upload is there: nothing
    /// is interrupted or remembered for an unknown id.
    pub(super) async fn take_over(&self, id: UploadId, repo: Option<&RepoName>) -> Option<Owned> {
        // Also if the wait below is cancelled.
        let ending = Ending { id, open: Arc::clone(&self.open) };
        let session = {
            let mut open = self.open.lock();
            let new = || Arc::new(Session { repo: repo.cloned(), ..Session::default() });
            Arc::clone(open.entry(id).or_insert_with(new))
        };
        let taken_over = CancellationToken::new();
        let before = {
            let mut newest = session.newest.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *newest, taken_over.clone())
        };
        before.cancel();
        let slot = Arc::clone(&session.slot).lock_owned().await;
        drop(session);
        let owned = Owned { slot, taken_over, _ending: ending };
        (!owned.taken_over.is_cancelled()).then_some(owned)
    }

    /// The upload, if it is open here and nobody is using it.
    pub(super) fn if_idle(&self, id: UploadId) -> Option<OwnedMutexGuard<Slot>> {
        let session = self.open.lock().get(&id).map(|session| Arc::clone(&session.slot))?;
        session.try_lock_owned().ok()
    }

    /// Whether some request is using the upload.
    pub(super) fn is_busy(&self, id: UploadId) -> bool {
        self.open.lock().get(&id).is_some_and(|session| session.slot.try_lock().is_err())
    }

    /// The uploads that are open here.
    pub(super) fn ids(&self) -> Vec<UploadId> {
        self.open.lock().keys().copied().collect()
    }

    /// Whether so many uploads are open that those without work are closed.
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
    async fn a_wait_for_a_turn_ends() {
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
            noted: 0,
            noted_at: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn so_many_uploads_are_kept_in_memory_and_no_more() {
        let sessions = Sessions::new(1);
        let ids: Vec<UploadId> = (0..MAX_OPEN + 100).map(|_| UploadId::random()).collect();
        ids.iter().for_each(|id| sessions.begin(*id, upload()));
        assert_eq!(sessions.ids().len(), MAX_OPEN);
        let repo = upload().repo;
        for id in &ids {
            let owned = sessions.take_over(*id, Some(&repo)).await.expect("owned");
            assert!(sessions.has(*id, &repo), "it is known while somebody owns it");
            drop(owned);
        }
        assert_eq!(sessions.ids().len(), MAX_OPEN, "nothing in hand, nothing kept");
    }

    #[tokio::test]
    async fn a_session_ends_with_its_last_owner() {
        let sessions = Sessions::new(1);
        let id = UploadId::random();
        sessions.begin(id, upload());
        let mut first = sessions.take_over(id, None).await.expect("owned");
        *first.slot = None;
        let second = sessions.take_over(id, None);
        let second = tokio::join!(second, async { drop(first) }).0.expect("owned");
        assert_eq!(sessions.ids(), [id]);
        drop(second);
        assert!(sessions.ids().is_empty());
    }
}
