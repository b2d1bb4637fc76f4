//! What a database file holds, read without changing it, before anything decides to open it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::maintenance::fact;
use super::open::{self, OpenError};
use super::readers::Readers;
use super::{SqliteMetadata, log, runs};

/// How every SQLite database begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A database file, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What it holds.
    pub state: DatabaseState,
    /// Whether there was a log beside it that can hold a change.
    pub has_log: bool,
    /// The run that the file records without its log, if that can be read.
    pub run_in_file: Option<String>,
}

/// What a database file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseState {
    /// There is no file.
    Missing,
    /// A file without any table.
    Empty,
    /// It is no database, or a damaged one; with the reason.
    Unreadable(String),
    /// A database.
    Readable {
        /// The store that it belongs to, if it was ever bound to one.
        store: Option<String>,
        /// The last run that it records.
        run: Option<String>,
    },
}

impl SqliteMetadata {
    /// Looks at the database in the folder `dir`, without changing it.
    ///
    /// # Errors
    /// [`OpenError`] if it cannot be looked at now. A file that is no database is no error.
    pub fn inspect(dir: &Path) -> Result<Inspection, OpenError> {
        let path = open::database(dir);
        // Before SQLite opens anything: it makes an empty log.
        let has_log = log::has_log(&path);
        let found = |state| Inspection { state, has_log, run_in_file: None };
        if let Some(state) = look_at_file(&path).map_err(|error| open::folder(dir, error))? {
            return Ok(found(state));
        }
        let run_in_file =
            Readers::new(path.clone(), true).read(recorded).ok().flatten().and_then(|read| read.run);
        let immutable = open::is_immutable(&path, open::folder_is_writable(&path))?;
        let state = match Readers::new(path.clone(), immutable).read(recorded) {
            Ok(Some(Recorded { store, run })) => DatabaseState::Readable { store, run },
            Ok(None) => DatabaseState::Empty,
            Err(error) if is_damage(&error) => DatabaseState::Unreadable(error.to_string()),
            Err(error) => return Err(OpenError::Sqlite { path, error }),
        };
        Ok(Inspection { run_in_file, ..found(state) })
    }
}

/// What is wrong with the file itself, if anything. SQLite may not open such a file: with an empty one it removes
/// the log, which may be all that is left.
fn look_at_file(path: &Path) -> io::Result<Option<DatabaseState>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(DatabaseState::Missing)),
        Err(error) => return Err(error),
        Ok(found) if !found.is_file() => {
            return Ok(Some(DatabaseState::Unreadable("it is not a file".to_owned())));
        }
        Ok(found) if found.len() == 0 => return Ok(Some(DatabaseState::Empty)),
        Ok(_) => {}
    }
    let mut magic = Vec::with_capacity(MAGIC.len());
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    if magic != MAGIC {
        return Ok(Some(DatabaseState::Unreadable("it is not an SQLite database".to_owned())));
    }
    let truncated = log::is_truncated(path)?;
    Ok(truncated.then(|| DatabaseState::Unreadable("it is damaged: pages are missing at its end".to_owned())))
}

struct Recorded {
    store: Option<String>,
    run: Option<String>,
}

/// What the database says about itself, whatever its version; `None` if it has no tables.
fn recorded(c: &Connection) -> rusqlite::Result<Option<Recorded>> {
    let facts = "SELECT 1 FROM sqlite_schema WHERE name = 'facts'";
    if c.query_row(facts, [], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    Ok(Some(Recorded { store: fact(c, "store_id")?, run: fact(c, runs::RUN)? }))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase),
        // A value of another type than is ever written.
        None => true,
    }
}
