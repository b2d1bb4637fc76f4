//! The single writer: a thread that takes changes from a queue and commits them in groups.
//!
//! Each change runs in its own savepoint, so that a failed change does not affect the others. A caller gets its result
//! after the group's COMMIT. Some errors, such as a full disk, end the whole transaction. Then every change of the
//! group fails.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rusqlite::{Connection, Error, ErrorCode, ffi};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::change_queue::{ChangeQueue, LARGE_CHANGE_BYTES};
use super::log;
use super::query_cache::{CacheGenerations, CacheInvalidation};
use crate::errors::{BoxError, Chain};
use crate::metadata::transaction::{Durability, Urgency};
use crate::metadata::{MetadataError, Result, sql};
use crate::scheduling::WriterYield;

/// Maximum total size of large changes that are queued or being written. Callers with further large changes wait in
/// order. Small changes do not wait.
const MAX_LARGE_BYTES: usize = 8 << 20;

/// How many bytes one permit of the semaphore for large changes stands for.
const PERMIT_BYTES: usize = 1 << 10;

/// A change in a group.
trait GroupMember: Send {
    fn durability(&self) -> Durability;

    fn urgency(&self) -> Urgency;

    /// Runs the change. If it fails, the caller must roll it back; the error is SQLite's code, if it has one.
    fn run(&mut self, connection: &Connection) -> std::result::Result<(), Option<ErrorCode>>;

    /// Sends the result to the caller, after COMMIT. A change that never ran gets the group's result.
    fn complete(self: Box<Self>, committed: Result<()>);
}

/// A change with the channel to its caller.
struct QueuedChange<T, F> {
    durability: Durability,
    urgency: Urgency,
    change: Option<F>,
    outcome: Option<sql::Result<T>>,
    caller: oneshot::Sender<Result<T>>,
    /// Reserves space in the queue for a large change.
    _permit: Option<OwnedSemaphorePermit>,
}

impl<T, F> GroupMember for QueuedChange<T, F>
where
    T: Send,
    F: FnOnce(&dyn sql::Connection) -> sql::Result<T> + Send,
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
            Some(Err(error)) => Err(sqlite_error(error).and_then(rusqlite::Error::sqlite_error_code)),
        }
    }

    fn complete(self: Box<Self>, committed: Result<()>) {
        let outcome = match self.outcome {
            Some(Err(error)) => Err(to_metadata_error(error)),
            Some(Ok(value)) => committed.map(|()| value),
            None => Err(committed.err().unwrap_or_else(poisoned_error)),
        };
        // The caller may have stopped waiting.
        let _ = self.caller.send(outcome);
    }
}

type Changes = ChangeQueue<Box<dyn GroupMember>>;

/// Handle of the writer thread. Dropping it ends the thread.
pub(super) struct Writer {
    changes: Arc<Changes>,
    /// Limits the total size of large changes.
    large_permits: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
    writer_yield: WriterYield,
    /// Whether a storage error made all further writes unsafe.
    poisoned: Arc<AtomicBool>,
    keeps_log: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread. Each transaction invalidates the cached query results of the repositories that it changed.
    pub(super) fn start(
        connection: Connection,
        writer_yield: WriterYield,
        invalidation: CacheInvalidation,
        generations: CacheGenerations,
    ) -> std::io::Result<Self> {
        let changes = Arc::new(Changes::new());
        let thread_changes = Arc::clone(&changes);
        let thread_yield = writer_yield.clone();
        let poisoned = Arc::new(AtomicBool::new(false));
        let thread_poisoned = Arc::clone(&poisoned);
        let keeps_log = Arc::new(AtomicBool::new(false));
        let keeps_log_at_close = Arc::clone(&keeps_log);
        let commits = Arc::new(AtomicU64::new(0));
        let thread_commits = Arc::clone(&commits);
        let thread = std::thread::Builder::new().name("metadata-writer".into()).spawn(move || {
            let thread = WriterThread {
                file: DatabaseFile::of(&connection),
                connection,
                synchronous: None,
                poisoned: thread_poisoned,
                writer_yield: thread_yield,
                invalidation,
                generations,
                commits: thread_commits,
            };
            let connection = thread.run(&thread_changes);
            if keeps_log_at_close.load(Ordering::Acquire)
                && let Err(error) = log::keep_at_close(&connection)
            {
                tracing::warn!(error = %Chain(&error), "can't keep the database log when closing");
            }
        })?;
        let large_permits = Arc::new(Semaphore::new(MAX_LARGE_BYTES / PERMIT_BYTES));
        Ok(Self { changes, large_permits, thread: Some(thread), writer_yield, poisoned, keeps_log, commits })
    }

    /// Sets whether closing the database leaves the log file in place.
    pub(super) fn set_keep_log(&self, keep: bool) {
        self.keeps_log.store(keep, Ordering::Release);
    }

    /// Returns how many transactions this process has committed.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// Runs `change` in a transaction and returns after its COMMIT. The change takes about `bytes` bytes in memory and
    /// in the database.
    pub(super) async fn write<T, F>(
        &self,
        durability: Durability,
        urgency: Urgency,
        bytes: usize,
        change: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn sql::Connection) -> sql::Result<T> + Send + 'static,
    {
        let permit = self.acquire_permit(bytes).await?;
        if self.poisoned.load(Ordering::Acquire) {
            return Err(poisoned_error());
        }
        let (caller, result) = oneshot::channel();
        let change = QueuedChange {
            durability,
            urgency,
            change: Some(change),
            outcome: None,
            caller,
            _permit: permit,
        };
        if urgency == Urgency::Awaited {
            self.writer_yield.add_waiter();
        }
        if !self.changes.push(Box::new(change), bytes) {
            if urgency == Urgency::Awaited {
                self.writer_yield.remove_waiters(1);
            }
            return Err(poisoned_error());
        }
        result.await.map_err(|_| poisoned_error())?
    }

    /// Waits until a change of `bytes` bytes fits into the queue.
    async fn acquire_permit(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>> {
        if bytes <= LARGE_CHANGE_BYTES {
            return Ok(None);
        }
        let units = u32::try_from(bytes.min(MAX_LARGE_BYTES).div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.large_permits).acquire_many_owned(units).await;
        permit.map(Some).map_err(|_| poisoned_error())
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

/// Makes the calls of all waiting callers fail when the thread ends, even after a panic.
struct AbandonOnDrop<'a>(&'a Changes);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

struct WriterThread {
    connection: Connection,
    /// The file that was opened; `None` for a database without a file.
    file: Option<DatabaseFile>,
    /// The last value of [`Self::set_synchronous`]; `None` before the first.
    synchronous: Option<bool>,
    poisoned: Arc<AtomicBool>,
    writer_yield: WriterYield,
    invalidation: CacheInvalidation,
    generations: CacheGenerations,
    commits: Arc<AtomicU64>,
}

impl WriterThread {
    /// Commits changes until the queue is closed; returns the connection.
    fn run(mut self, changes: &Changes) -> Connection {
        let _abandon = AbandonOnDrop(changes);
        while let Some(group) = changes.next_group() {
            if self.poisoned.load(Ordering::Acquire) {
                continue; // Dropping a change makes its caller's write fail.
            }
            self.commit(group);
        }
        self.connection
    }

    fn commit(&mut self, mut group: Vec<Box<dyn GroupMember>>) {
        let committed = self.run_transaction(&mut group).map_err(Arc::new);
        self.invalidation.apply(&self.connection, &self.generations);
        self.commits.fetch_add(1, Ordering::Release);
        let awaited = group.iter().filter(|member| member.urgency() == Urgency::Awaited).count();
        self.writer_yield.remove_waiters(awaited);
        if let Err(error) = &committed {
            self.poison_if_unsafe(error);
        }
        for member in group {
            let committed = committed.clone();
            member
                .complete(committed.map_err(|error| metadata_error(error.sqlite_error_code(), error.into())));
        }
    }

    fn run_transaction(&mut self, group: &mut [Box<dyn GroupMember>]) -> rusqlite::Result<()> {
        self.file.as_ref().map_or(Ok(()), DatabaseFile::verify)?;
        self.set_synchronous(group.iter().any(|member| member.durability() == Durability::Full))?;
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        for member in group {
            self.run_member(member.as_mut())?;
            if self.connection.is_autocommit() {
                return Err(transaction_ended_error());
            }
        }
        self.connection.execute_batch("COMMIT")
    }

    fn run_member(&self, member: &mut dyn GroupMember) -> rusqlite::Result<()> {
        self.connection.prepare_cached("SAVEPOINT member")?.execute([])?;
        let outcome = member.run(&self.connection);
        if let Err(Some(code)) = outcome
            && is_storage_failure(code)
        {
            return Err(storage_failure_error(code));
        }
        if !self.connection.is_autocommit() {
            if outcome.is_err() {
                self.connection.prepare_cached("ROLLBACK TO member")?.execute([])?;
            }
            self.connection.prepare_cached("RELEASE member")?.execute([])?;
        }
        Ok(())
    }

    /// Sets whether COMMIT waits for the disk. SQLite accepts this setting only between transactions.
    fn set_synchronous(&mut self, full: bool) -> rusqlite::Result<()> {
        if self.synchronous != Some(full) {
            self.connection.pragma_update(None, "synchronous", if full { "FULL" } else { "NORMAL" })?;
            self.synchronous = Some(full);
        }
        Ok(())
    }

    /// Rejects all further writes until the store is reopened, if the content of the file is unknown. After a full disk
    /// it is known, because SQLite rolls the transaction back. After any other storage error it is unknown.
    fn poison_if_unsafe(&self, error: &rusqlite::Error) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        if error.sqlite_error_code().is_some_and(is_storage_failure) || !self.connection.is_autocommit() {
            self.poisoned.store(true, Ordering::Release);
            tracing::error!(error = %Chain(error), "metadata store failed; rejecting writes until a restart");
        }
    }
}

/// Whether the content of the file is unknown after this error, so that further writes would be unsafe.
fn is_storage_failure(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
}

fn storage_failure_error(code: ErrorCode) -> rusqlite::Error {
    let error = rusqlite::ffi::Error { code, extended_code: 0 };
    rusqlite::Error::SqliteFailure(error, Some("a change of the same group hit a storage error".into()))
}

fn transaction_ended_error() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
    rusqlite::Error::SqliteFailure(code, Some("an earlier change ended the group's transaction".into()))
}

fn poisoned_error() -> MetadataError {
    MetadataError::Failed("an earlier write failed; restart to reopen the database".into())
}

fn sqlite_error(error: &sql::Error) -> Option<&rusqlite::Error> {
    error.engine()
}

/// Converts the error of a change into the error that its caller gets.
pub(super) fn to_metadata_error(error: sql::Error) -> MetadataError {
    let code = sqlite_error(&error).and_then(rusqlite::Error::sqlite_error_code);
    match error {
        sql::Error::Engine(error) => metadata_error(code, error),
        error => metadata_error(code, error.into()),
    }
}

/// Returns the error for a caller whose change or query failed because of `error`, whose code is `code`.
fn metadata_error(code: Option<ErrorCode>, error: BoxError) -> MetadataError {
    match code {
        Some(ErrorCode::DiskFull) => MetadataError::Full,
        Some(ErrorCode::ReadOnly) => MetadataError::ReadOnly,
        // SQLite itself never returns this code for a statement. See `DatabaseFile`.
        Some(ErrorCode::NotFound) => MetadataError::Vanished(error),
        _ => MetadataError::Failed(error),
    }
}

/// The file of an open database. It detects that the file was deleted or its volume unmounted: SQLite keeps writing to
/// such a file without an error, and all these changes are lost when the process ends.
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl DatabaseFile {
    pub(super) fn of(connection: &Connection) -> Option<Self> {
        let path = PathBuf::from(connection.path()?);
        let identity = identify(&path)?;
        Some(Self { path, identity })
    }

    /// Fails if the path no longer leads to the file that was opened.
    pub(super) fn verify(&self) -> rusqlite::Result<()> {
        if identify(&self.path) == Some(self.identity) {
            return Ok(());
        }
        let message = format!("{} is no longer the file that was opened", self.path.display());
        Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOTFOUND), Some(message)))
    }
}

fn identify(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}
