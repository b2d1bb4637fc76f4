//! Inspects a database file without changing it, before the server decides to open it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::log;
use super::open::{self, OpenError};
use super::readers::Readers;
use crate::metadata::facts::{RUN_KEY, read_value};
use crate::metadata::sql;

/// First bytes of every SQLite database.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// The state of a database file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Content of the file.
    pub state: DatabaseState,
    /// Whether a log that can hold a change lies next to the file.
    pub has_log: bool,
    /// The run that the file records without its log, if it can be read.
    pub run_in_file: Option<String>,
}

/// Content of a database file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseState {
    /// The file does not exist.
    Missing,
    /// The file has no tables.
    Empty,
    /// The file is not a database or is damaged; contains the reason.
    Unreadable(String),
    /// A readable database.
    Readable {
        /// Id of the store that it belongs to, if it was ever bound to one.
        store: Option<String>,
        /// Last run that it records.
        run: Option<String>,
    },
}

/// Inspects the database in the folder `dir` without changing it.
///
/// # Errors
/// Fails if the file can't be inspected now. A file that is not a database is not an error.
pub fn inspect(dir: &Path) -> Result<Inspection, OpenError> {
    let path = open::database(dir);
    // Check this before SQLite opens the file: it creates an empty log.
    let has_log = log::has_log(&path);
    let found = |state| Inspection { state, has_log, run_in_file: None };
    if let Some(state) = check_file(&path).map_err(|error| open::folder_error(dir, error))? {
        return Ok(found(state));
    }
    let run_in_file =
        Readers::new(path.clone(), true).read(read_recorded).ok().flatten().and_then(|read| read.run);
    let immutable = open::is_immutable(&path, open::is_folder_writable(&path))?;
    let state = match Readers::new(path.clone(), immutable).read(read_recorded) {
        Ok(Some(Recorded { store, run })) => DatabaseState::Readable { store, run },
        Ok(None) => DatabaseState::Empty,
        Err(error) if is_damage(&error) => DatabaseState::Unreadable(error.to_string()),
        Err(error) => return Err(OpenError::Sqlite { path, error: error.into() }),
    };
    Ok(Inspection { run_in_file, ..found(state) })
}

/// Checks the file itself. Returns its state if SQLite must not open it: for an empty file SQLite removes the log,
/// which may hold the only remaining data.
fn check_file(path: &Path) -> io::Result<Option<DatabaseState>> {
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

/// Reads what a database of any version records about itself. Returns `None` if it has no tables.
fn read_recorded(c: &Connection) -> sql::Result<Option<Recorded>> {
    let facts = "SELECT 1 FROM sqlite_schema WHERE name = 'facts'";
    if c.query_row(facts, [], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    Ok(Some(Recorded { store: read_value(c, "store_id")?, run: read_value(c, RUN_KEY)? }))
}

fn is_damage(error: &sql::Error) -> bool {
    match error.engine().and_then(rusqlite::Error::sqlite_error_code) {
        Some(code) => matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase),
        // A value has a type that is never written.
        None => true,
    }
}
