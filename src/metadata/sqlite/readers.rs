//! Connections for reading, each used by one caller at a time and for one short query.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

/// How many idle connections are kept.
const KEPT: usize = 8;

/// How many KiB of pages a long report remembers at most.
const MUCH: i64 = 128 << 10;

pub(super) struct Readers {
    path: PathBuf,
    immutable: bool,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Readers of the database at `path`. An `immutable` one lies on a read-only medium, where not even the
    /// files of its log can be made.
    pub(super) fn new(path: PathBuf, immutable: bool) -> Self {
        Self { path, immutable, idle: Mutex::default() }
    }

    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.map_or_else(|| self.connect(), Ok)?;
        let outcome = query(&connection);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(connection);
        }
        outcome
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
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        super::keep_plans(&connection)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }
}
