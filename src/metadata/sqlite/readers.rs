//! Connections for reading, each used by one caller at a time and for one short query.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// How many idle connections are kept.
const KEPT: usize = 8;

/// How many KiB of pages a long report remembers at most.
const MUCH: i64 = 128 << 10;

/// How long a query waits for another's connection where none can be opened.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Readers {
    path: PathBuf,
    immutable: bool,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    /// How many are in use.
    lent: usize,
}

impl Pool {
    /// One more is in use from now on: an idle one, if there is one.
    fn lend(&mut self) -> Option<Connection> {
        self.lent += 1;
        self.idle.pop()
    }
}

impl Readers {
    /// Readers of the database at `path`. An `immutable` one lies on a read-only medium, where not even the
    /// files of its log can be made.
    pub(super) fn new(path: PathBuf, immutable: bool) -> Self {
        Self { path, immutable, pool: Mutex::default(), returned: Condvar::new() }
    }

    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let connection = self.lend()?;
        let outcome = query(&connection);
        self.take_back(connection);
        outcome
    }

    /// One that is open already, or a new one. Where the file is away those that are open read it still.
    fn lend(&self) -> rusqlite::Result<Connection> {
        let idle = self.pool().lend();
        idle.map_or_else(|| self.connect(), Ok).or_else(|error| {
            let mut pool = self.pool();
            pool.lent -= 1;
            // Who waits for this one waits in vain.
            self.returned.notify_all();
            let waits = |pool: &mut Pool| pool.idle.is_empty() && pool.lent > 0;
            let waited = self.returned.wait_timeout_while(pool, PATIENCE, waits);
            let mut pool = waited.unwrap_or_else(PoisonError::into_inner).0;
            if pool.idle.is_empty() { Err(error) } else { pool.lend().ok_or(error) }
        })
    }

    fn take_back(&self, connection: Connection) {
        let mut pool = self.pool();
        pool.lent -= 1;
        if pool.idle.len() < KEPT {
            pool.idle.push(connection);
        }
        self.returned.notify_one();
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read of a great many pages: on a connection of its own, which remembers more of them and goes
    /// afterwards.
    pub(super) fn read_much<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let connection = self.connect()?;
        connection.pragma_update(None, "cache_size", -MUCH)?;
        // One moment for all that is read.
        let moment = connection.unchecked_transaction()?;
        query(&moment)
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
        super::keep_plans(&connection)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn where_none_can_be_opened_a_query_waits_for_one_that_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, away) = (dir.path().join("db"), dir.path().join("away"));
        Connection::open(&path)
            .and_then(|c| c.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (7)"))
            .expect("made");
        let readers = Readers::new(path.clone(), false);
        let seven = |c: &Connection| c.query_row("SELECT x FROM t", [], |row| row.get::<_, i64>(0));
        let ((reads, is_read), (go, goes)) = (channel(), channel());
        std::thread::scope(|scope| {
            let (readers, seven) = (&readers, &seven);
            scope.spawn(move || {
                readers.read(|c| {
                    reads.send(()).expect("heard");
                    goes.recv().expect("told");
                    seven(c)
                })
            });
            is_read.recv().expect("one is in use");
            std::fs::rename(&path, &away).expect("moved");
            let waiting = scope.spawn(move || readers.read(seven));
            go.send(()).expect("heard");
            assert_eq!(waiting.join().expect("ended"), Ok(7));
        });
        assert_eq!(readers.read(seven), Ok(7));
        drop(readers);
        assert!(Readers::new(path, false).read(seven).is_err(), "nobody has one");
    }
}
