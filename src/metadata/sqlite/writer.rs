//! The single writer: a thread that takes changes from a queue and commits them in groups.
//!
//! The queue hands them out in groups that are bounded in number and bytes. Groups of small and of large changes take
//! turns, so that a small change waits for at most one group of large changes, and large changes never starve. If small
//! changes arrive while a group of large changes is written, the next period of the same length is reserved for small
//! changes. A push is several small changes one after another: it so waits for one group of large changes in total, not
//! for one before each of its changes.
//!
//! Each change runs in its own savepoint, so that a failed change does not affect the others. A caller gets its result
//! after the group's COMMIT. Some errors, such as a full disk, end the whole transaction. Then every change of the
//! group fails.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Error, ErrorCode, ffi};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::log;
use super::query_cache::{CacheGenerations, CacheInvalidation};
use crate::errors::{BoxError, Chain};
use crate::metadata::transaction::{Durability, Urgency};
use crate::metadata::{MetadataError, Result, sql};
use crate::scheduling::WriterYield;

/// Maximum number of changes in a group. It bounds how long the first of them waits.
const MAX_GROUP: usize = 128;

/// Maximum bytes in a group, unless its first change alone has more.
const MAX_GROUP_BYTES: usize = 1 << 20;

/// Changes with more bytes than this are large.
const LARGE_CHANGE_BYTES: usize = 64 << 10;

/// Longest period that is reserved for small changes.
const MAX_SMALL_ONLY_TIME: Duration = Duration::from_millis(100);

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

/// The queue of changes, with many senders and one receiver.
struct ChangeQueue<T> {
    waiting: Mutex<Waiting<T>>,
    arrived: Condvar,
}

struct Waiting<T> {
    small: VecDeque<Weighed<T>>,
    large: VecDeque<Weighed<T>>,
    was_large: bool,
    is_closed: bool,
    /// When the group of large changes that is being written was taken.
    large_since: Option<Instant>,
    /// Whether small changes have arrived since then.
    has_small: bool,
    /// End of the period reserved for small changes.
    small_only_until: Option<Instant>,
}

struct Weighed<T> {
    change: T,
    bytes: usize,
}

impl<T> ChangeQueue<T> {
    fn new() -> Self {
        let waiting = Waiting {
            small: VecDeque::new(),
            large: VecDeque::new(),
            was_large: false,
            is_closed: false,
            large_since: None,
            has_small: false,
            small_only_until: None,
        };
        Self { waiting: Mutex::new(waiting), arrived: Condvar::new() }
    }

    /// Appends a change; `false` if the queue is closed.
    fn push(&self, change: T, bytes: usize) -> bool {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return false;
        }
        waiting.has_small |= bytes <= LARGE_CHANGE_BYTES;
        let changes = if bytes > LARGE_CHANGE_BYTES { &mut waiting.large } else { &mut waiting.small };
        changes.push_back(Weighed { change, bytes });
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    /// Blocks until there are changes; `None` when the queue is closed and empty.
    fn next_group(&self) -> Option<Vec<T>> {
        let mut waiting = self.lock();
        waiting.finish_group(Instant::now());
        loop {
            let now = Instant::now();
            if let Some(group) = waiting.take_group(now) {
                return Some(group);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = match waiting.small_only_left(now) {
                Some(left) if !waiting.large.is_empty() => {
                    self.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Closes the queue. The changes in it are still handed out.
    fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_one();
    }

    /// Closes the queue and drops the changes in it, because they will no longer be written.
    fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        let small = std::mem::take(&mut waiting.small);
        let large = std::mem::take(&mut waiting.large);
        drop(waiting);
        drop((small, large));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Waiting<T> {
    /// Records that the last group was written.
    fn finish_group(&mut self, now: Instant) {
        if let Some(since) = self.large_since.take()
            && self.has_small
        {
            self.small_only_until = Some(now + now.duration_since(since).min(MAX_SMALL_ONLY_TIME));
        }
    }

    /// How long large changes still have to wait.
    fn small_only_left(&self, now: Instant) -> Option<Duration> {
        let left = self.small_only_until?.checked_duration_since(now)?;
        (!left.is_zero() && !self.is_closed).then_some(left)
    }

    /// Takes the next group, if one may be taken now.
    fn take_group(&mut self, now: Instant) -> Option<Vec<T>> {
        let may_take_large = !self.large.is_empty() && self.small_only_left(now).is_none();
        let takes_large = may_take_large && (self.small.is_empty() || !self.was_large);
        if !takes_large && self.small.is_empty() {
            return None;
        }
        self.was_large = takes_large;
        if takes_large {
            self.large_since = Some(now);
            self.has_small = !self.small.is_empty();
        }
        let changes = if takes_large { &mut self.large } else { &mut self.small };
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(next) = changes.front() {
            let is_full = group.len() == MAX_GROUP || bytes + next.bytes > MAX_GROUP_BYTES;
            if is_full && !group.is_empty() {
                break;
            }
            bytes += next.bytes;
            group.extend(changes.pop_front().map(|weighed| weighed.change));
        }
        Some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn groups(changes: &[(u32, usize)]) -> Vec<Vec<u32>> {
        let queue = ChangeQueue::new();
        for (change, bytes) in changes {
            assert!(queue.push(*change, *bytes));
        }
        queue.close();
        assert!(!queue.push(0, 0));
        std::iter::from_fn(|| queue.next_group()).collect()
    }

    #[test]
    fn small_changes_are_grouped_in_order() {
        let changes: Vec<_> = (0..200).map(|number| (number, 100)).collect();
        let groups = groups(&changes);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_GROUP, 200 - MAX_GROUP]);
        assert_eq!(groups.concat(), (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn small_and_large_changes_take_turns() {
        let mut changes: Vec<_> = (0..4).map(|number| (number, 4 * MIB)).collect();
        changes.extend((10..14).map(|number| (number, 10)));
        assert_eq!(groups(&changes), [vec![0], vec![10, 11, 12, 13], vec![1], vec![2], vec![3]]);
    }

    #[test]
    fn small_changes_get_as_much_time_as_the_large_group_before() {
        let queue = ChangeQueue::new();
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for (change, bytes) in [(0, MIB), (1, MIB), (2, MIB)] {
            queue.push(change, bytes);
        }
        let take = |now| queue.lock().take_group(now);
        assert_eq!(take(at(0)), Some(vec![0]));
        queue.lock().finish_group(at(40));
        assert_eq!(take(at(40)), Some(vec![1]), "no small changes have arrived");
        queue.push(10, 1);
        queue.lock().finish_group(at(80));
        assert_eq!(take(at(80)), Some(vec![10]));
        queue.lock().finish_group(at(81));
        assert_eq!(take(at(81)), None);
        assert_eq!(queue.lock().small_only_left(at(81)), Some(Duration::from_millis(39)));
        queue.push(11, 1);
        assert_eq!(take(at(90)), Some(vec![11]));
        assert_eq!(take(at(120)), Some(vec![2]));
        queue.lock().finish_group(at(130));
        assert_eq!(queue.lock().small_only_left(at(130)), None);
    }

    #[test]
    fn abandoned_queue_drops_its_changes() {
        let queue = ChangeQueue::new();
        let change = std::sync::Arc::new(());
        queue.push(std::sync::Arc::clone(&change), 0);
        queue.abandon();
        assert_eq!(std::sync::Arc::strong_count(&change), 1);
        assert!(!queue.push(change, 0));
        assert!(queue.next_group().is_none());
    }

    #[test]
    fn group_is_bounded_in_bytes() {
        let sizes = [MIB / 2, MIB / 2, MIB / 2, LARGE_CHANGE_BYTES + 1, 9 * MIB];
        let changes: Vec<_> = (0..).zip(sizes).collect();
        assert_eq!(groups(&changes), [vec![0, 1], vec![2, 3], vec![4]]);
        let small: Vec<_> = (0..20).map(|number| (number, LARGE_CHANGE_BYTES)).collect();
        assert_eq!(groups(&small).iter().map(Vec::len).collect::<Vec<_>>(), [16, 4]);
    }
}
