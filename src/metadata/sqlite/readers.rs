//! Pool of connections for reading. One caller at a time uses a connection, for one short query.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::connection::keep_plans;
use crate::metadata::sql;

/// Maximum number of idle connections in the pool.
const MAX_IDLE_CONNECTIONS: usize = 8;

/// Page cache of a connection for a report, in KiB.
const REPORT_CACHE_KIB: i64 = 128 << 10;

/// How long a query waits for a connection in use if it can't open one.
const CONNECTION_WAIT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Readers {
    path: PathBuf,
    immutable: bool,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    /// Number of connections in use.
    in_use: usize,
}

impl Pool {
    /// Takes an idle connection, if there is one, and counts one more as in use.
    fn take(&mut self) -> Option<Connection> {
        self.in_use += 1;
        self.idle.pop()
    }
}

impl Readers {
    /// Creates a pool for the database at `path`. An `immutable` database lies on a read-only volume, where not even
    /// the files of its log can be created.
    pub(super) fn new(path: PathBuf, immutable: bool) -> Self {
        Self { path, immutable, pool: Mutex::default(), returned: Condvar::new() }
    }

    pub(super) fn read<T, E: From<rusqlite::Error>>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let connection = self.acquire()?;
        let outcome = query(&connection);
        self.release(connection);
        outcome
    }

    /// Takes an open connection or opens a new one. Open connections can still read a file that was moved away.
    fn acquire(&self) -> rusqlite::Result<Connection> {
        let idle = self.pool().take();
        idle.map_or_else(|| self.connect(), Ok).or_else(|error| {
            let mut pool = self.pool();
            pool.in_use -= 1;
            // Other waiters must not wait for this connection.
            self.returned.notify_all();
            let must_wait = |pool: &mut Pool| pool.idle.is_empty() && pool.in_use > 0;
            let waited = self.returned.wait_timeout_while(pool, CONNECTION_WAIT_TIMEOUT, must_wait);
            let mut pool = waited.unwrap_or_else(PoisonError::into_inner).0;
            if pool.idle.is_empty() { Err(error) } else { pool.take().ok_or(error) }
        })
    }

    fn release(&self, connection: Connection) {
        let mut pool = self.pool();
        pool.in_use -= 1;
        if pool.idle.len() < MAX_IDLE_CONNECTIONS {
            pool.idle.push(connection);
        }
        self.returned.notify_one();
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a query that reads very many pages, on a separate connection with a larger page cache that is closed
    /// afterwards.
    pub(super) fn read_report<T>(
        &self,
        query: impl FnOnce(&dyn sql::Connection) -> sql::Result<T>,
    ) -> sql::Result<T> {
        let connection = self.connect()?;
        connection.pragma_update(None, "cache_size", -REPORT_CACHE_KIB)?;
        // All statements of the report see the same state.
        let _snapshot = sql::Snapshot::begin(&connection)?;
        query(&connection)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = if self.immutable {
            let path =
                self.path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            Connection::open_with_flags(
                format!("file:{path}?immutable=1"),
                flags | OpenFlags::SQLITE_OPEN_URI,
            )?
        } else {
            Connection::open_with_flags(&self.path, flags)?
        };
        connection.busy_timeout(Duration::from_secs(10))?;
        keep_plans(&connection)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn waits_for_connection_in_use_if_none_can_be_opened() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("db");
        let moved = dir.path().join("moved");
        Connection::open(&path)
            .and_then(|c| c.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (7)"))
            .expect("created");
        let readers = Readers::new(path.clone(), false);
        let seven = |c: &Connection| c.query_row("SELECT x FROM t", [], |row| row.get::<_, i64>(0));
        let (started, has_started) = channel();
        let (proceed, may_proceed) = channel();
        std::thread::scope(|scope| {
            let readers = &readers;
            let seven = &seven;
            scope.spawn(move || {
                readers.read(|c| {
                    started.send(()).expect("sent");
                    may_proceed.recv().expect("received");
                    seven(c)
                })
            });
            has_started.recv().expect("a connection is in use");
            std::fs::rename(&path, &moved).expect("moved");
            let waiting = scope.spawn(move || readers.read(seven));
            proceed.send(()).expect("sent");
            assert_eq!(waiting.join().expect("ended"), Ok(7));
        });
        assert_eq!(readers.read(seven), Ok(7));
        drop(readers);
        assert!(Readers::new(path, false).read(seven).is_err(), "no connection is open");
    }
}
