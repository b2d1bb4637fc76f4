//! The one writer: a thread that takes changes as they come and commits them in groups.
//!
//! Each change runs in a savepoint of its own, so that one that fails leaves the others alone. Nobody is
//! answered before the group's COMMIT. An error may end the whole transaction (a full disk does); then
//! every member of the group fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::cache_invalidation::CacheInvalidation;
use super::change_queue::{ChangeQueue, LARGE};
use super::log;
use super::place::Place;
use super::query_cache::CacheGenerations;
use super::writer_yield::WriterYield;
use crate::metadata::{MetadataError, Result};

/// The most bytes that large changes have together in the queue and in the group that is written. Callers of more
/// wait, in order; small changes pass them.
const MAX_LARGE_BYTES: usize = 8 << 20;

/// The queue's bytes are counted in units of this many.
const UNIT: usize = 1 << 10;

/// What a change must survive when its caller is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The death of the process.
    Lazy,
    /// A power cut.
    Full,
}

/// Whether somebody waits for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A request does.
    Awaited,
    /// Only background work does.
    Behind,
}

/// A change on its way through a group.
trait Member: Send {
    fn durability(&self) -> Durability;

    fn urgency(&self) -> Urgency;

    /// Makes the change. If it failed it must be undone; the code is SQLite's.
    fn run(&mut self, connection: &Connection) -> std::result::Result<(), Option<ErrorCode>>;

    /// Tells the caller what became of it, once COMMIT has spoken. A member that never ran shares the
    /// group's fate.
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Change<T, F> {
    durability: Durability,
    urgency: Urgency,
    change: Option<F>,
    outcome: Option<rusqlite::Result<T>>,
    caller: oneshot::Sender<Result<T>>,
    /// The room that a large change takes in the queue.
    _room: Option<OwnedSemaphorePermit>,
}

impl<T, F> Member for Change<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn urgency(&self) -> Urgency {
        self.urgency
    }

    fn run(&mut self, connection: &Connection) -> std::result::Result<(), Option<ErrorCode>> {
        self.outcome = self.change.take().map(|change| change(connection));
        match &self.outcome {
            Some(Ok(_)) | None => Ok(()),
            Some(Err(error)) => Err(error.sqlite_error_code()),
        }
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let outcome = match self.outcome {
            Some(Err(error)) => Err(failure(&error)),
            Some(Ok(value)) => committed.map(|()| value),
            None => Err(committed.err().unwrap_or_else(poisoned)),
        };
        // A caller that has gone away needs no answer.
        let _ = self.caller.send(outcome);
    }
}

type Changes = ChangeQueue<Box<dyn Member>>;

/// The way to the writer's thread, which ends when this is dropped.
pub(super) struct Writer {
    changes: Arc<Changes>,
    large: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
    patience: WriterYield,
    poisoned: Arc<AtomicBool>,
    keeps_log: Arc<AtomicBool>,
}

impl Writer {
    /// Starts the thread. Each transaction ends the epochs of the repositories that it touched.
    pub(super) fn start(
        connection: Connection,
        patience: WriterYield,
        touched: CacheInvalidation,
        epochs: CacheGenerations,
    ) -> std::io::Result<Self> {
        let changes = Arc::new(Changes::new());
        let waiting = Arc::clone(&changes);
        let relaxed = patience.clone();
        let poisoned = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&poisoned);
        let keeps_log = Arc::new(AtomicBool::new(false));
        let keeps_log_at_close = Arc::clone(&keeps_log);
        let thread = std::thread::Builder::new().name("metadata-writer".into()).spawn(move || {
            let place = Place::of(&connection);
            let (synchronous, patience) = (None, relaxed);
            let connection =
                WriterThread { connection, place, synchronous, poisoned: flag, patience, touched, epochs }
                    .run(&waiting);
            if keeps_log_at_close.load(Ordering::Acquire)
                && let Err(error) = log::keep_at_close(&connection)
            {
                tracing::warn!(%error, "the database's log could not be kept");
            }
        })?;
        let large = Arc::new(Semaphore::new(MAX_LARGE_BYTES / UNIT));
        Ok(Self { changes, large, thread: Some(thread), patience, poisoned, keeps_log })
    }

    /// Whether closing leaves the log in its place.
    pub(super) fn keep_log(&self, keep: bool) {
        self.keeps_log.store(keep, Ordering::Release);
    }

    /// Runs `change`, which holds and writes about so many bytes, in a transaction and returns after its COMMIT.
    pub(super) async fn write<T, F>(
        &self,
        durability: Durability,
        urgency: Urgency,
        bytes: usize,
        change: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let room = self.room_for(bytes).await?;
        if self.poisoned.load(Ordering::Acquire) {
            return Err(poisoned());
        }
        let (caller, answered) = oneshot::channel();
        let change = Change { durability, urgency, change: Some(change), outcome: None, caller, _room: room };
        if urgency == Urgency::Awaited {
            self.patience.hurry();
        }
        if !self.changes.push(Box::new(change), bytes) {
            return Err(poisoned());
        }
        answered.await.map_err(|_| poisoned())?
    }

    /// Waits until a change of so many bytes fits into the queue.
    async fn room_for(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>> {
        if bytes <= LARGE {
            return Ok(None);
        }
        let units = u32::try_from(bytes.min(MAX_LARGE_BYTES).div_ceil(UNIT)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.large).acquire_many_owned(units).await;
        room.map(Some).map_err(|_| poisoned())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.changes.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers those that wait when the thread ends, also by a panic.
struct AbandonOnDrop<'a>(&'a Changes);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

struct WriterThread {
    connection: Connection,
    /// Where the database was opened; `None` where it is in no file.
    place: Option<Place>,
    synchronous: Option<bool>,
    poisoned: Arc<AtomicBool>,
    patience: WriterYield,
    touched: CacheInvalidation,
    epochs: CacheGenerations,
}

impl WriterThread {
    /// Commits changes until the queue is closed; returns the connection.
    fn run(mut self, waiting: &Changes) -> Connection {
        let _abandon = AbandonOnDrop(waiting);
        while let Some(group) = waiting.next_group() {
            if self.poisoned.load(Ordering::Acquire) {
                continue; // Dropping a change answers its caller that the writer is gone.
            }
            self.commit(group);
        }
        self.connection
    }

    fn commit(&mut self, mut group: Vec<Box<dyn Member>>) {
        let committed = self.transact(&mut group);
        self.touched.end(&self.connection, &self.epochs);
        self.patience.relax(group.iter().filter(|member| member.urgency() == Urgency::Awaited).count());
        if let Err(error) = &committed {
            self.give_up_if_unknown(error);
        }
        for member in group {
            member.answer(committed.as_ref().copied().map_err(failure));
        }
    }

    fn transact(&mut self, group: &mut [Box<dyn Member>]) -> rusqlite::Result<()> {
        self.place.as_ref().map_or(Ok(()), Place::verify)?;
        self.set_synchronous(group.iter().any(|member| member.durability() == Durability::Full))?;
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        for member in group {
            self.run_member(member.as_mut())?;
            if self.connection.is_autocommit() {
                return Err(ended());
            }
        }
        self.connection.execute_batch("COMMIT")
    }

    fn run_member(&self, member: &mut dyn Member) -> rusqlite::Result<()> {
        self.connection.prepare_cached("SAVEPOINT member")?.execute([])?;
        let outcome = member.run(&self.connection);
        if let Err(Some(code)) = outcome
            && is_of_the_medium(code)
        {
            return Err(damaged(code));
        }
        if !self.connection.is_autocommit() {
            if outcome.is_err() {
                self.connection.prepare_cached("ROLLBACK TO member")?.execute([])?;
            }
            self.connection.prepare_cached("RELEASE member")?.execute([])?;
        }
        Ok(())
    }

    /// Whether a COMMIT waits for the medium. SQLite takes this setting between transactions only.
    fn set_synchronous(&mut self, full: bool) -> rusqlite::Result<()> {
        if self.synchronous != Some(full) {
            self.connection.pragma_update(None, "synchronous", if full { "FULL" } else { "NORMAL" })?;
            self.synchronous = Some(full);
        }
        Ok(())
    }

    /// A full disk undid the transaction cleanly. Any other failure of the medium leaves open what is on it:
    /// nothing is written any more until the store is opened anew.
    fn give_up_if_unknown(&self, error: &rusqlite::Error) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        if error.sqlite_error_code().is_some_and(is_of_the_medium) || !self.connection.is_autocommit() {
            self.poisoned.store(true, Ordering::Release);
            tracing::error!(%error, "the metadata store failed; nothing is written any more until a restart");
        }
    }
}

/// Whether nothing that is written from now on can be trusted.
fn is_of_the_medium(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
}

fn damaged(code: ErrorCode) -> rusqlite::Error {
    let error = rusqlite::ffi::Error { code, extended_code: 0 };
    rusqlite::Error::SqliteFailure(error, Some("a change of the same group met a failing medium".into()))
}

fn ended() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    rusqlite::Error::SqliteFailure(code, Some("an earlier change ended the group's transaction".into()))
}

fn poisoned() -> MetadataError {
    MetadataError::Failed("it failed before and has to be opened anew".into())
}

/// What a caller is told of SQLite's error.
pub(super) fn failure(error: &rusqlite::Error) -> MetadataError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => MetadataError::Full,
        Some(ErrorCode::ReadOnly) => MetadataError::ReadOnly,
        // Not SQLite's own: no statement ends with it. See `Place`.
        Some(ErrorCode::NotFound) => MetadataError::Vanished(error.to_string()),
        _ => MetadataError::Failed(error.to_string()),
    }
}
