//! Opens a database: creates, migrates or rejects it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use thiserror::Error;

use super::Sqlite;
use super::connection::keep_plans;
use super::log::beside;
use super::query_cache::{CacheGenerations, CacheInvalidation};
use super::readers::Readers;
use super::shorten_details;
use super::writer::Writer;
use crate::errors::BoxError;
use crate::metadata::Access;
use crate::scheduling::WriterYield;

mod migrations {
    refinery::embed_migrations!("src/metadata/sqlite/migrations");
}

/// Number of SQLite operations between two checks of whether to yield: about 100 µs.
const OPERATIONS_PER_YIELD: i32 = 1000;

/// Version of the schema that this program writes.
pub const SCHEMA_VERSION: u32 = 18;

const FILE: &str = "orlop.db";

/// Prefix of the names of the folders in which dry runs work.
pub(in crate::metadata) const DRY_RUN_PREFIX: &str = "orlop.dry-run-";

/// Number of pages in the log at which SQLite checkpoints it into the database: about 16 MiB.
const CHECKPOINT_PAGES: u32 = 4096;

/// Why the database can't be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A newer version of the program wrote the database.
    #[error(
        "the database {path} has schema version {found}, but this program supports versions up to {known}; \
         upgrade it"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Schema version of the database.
        found: u32,
        /// Newest schema version that this program supports.
        known: u32,
    },
    /// The folder is read-only, so the shared memory can't be created, and the last changes are only in the log.
    #[error(
        "the database {0} was not closed cleanly, and its log can't be read from a read-only folder; open it \
         for writing once, or use a copy of the folder"
    )]
    Unclean(PathBuf),
    /// Access is read-only, and the database is missing or needs a migration.
    #[error("the database {0} is missing or has an older schema version; open it for writing once")]
    NotReady(PathBuf),
    /// The folder can't be accessed.
    #[error("can't access the metadata folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Error of the filesystem.
        #[source]
        error: std::io::Error,
    },
    /// SQLite failed.
    #[error("can't open the database {path}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Error of SQLite.
        #[source]
        error: BoxError,
    },
    /// A migration failed.
    #[error("can't migrate the database {path} to this version")]
    Migration {
        /// The database.
        path: PathBuf,
        /// Error of the migration.
        #[source]
        error: refinery::Error,
    },
}

impl Sqlite {
    /// Opens the database in the folder `dir`. See [`crate::metadata::Metadata::open`].
    pub(in crate::metadata) fn open(dir: &Path, access: Access) -> Result<Self, OpenError> {
        let path = database(dir);
        match access {
            Access::ReadWrite => open_for_writing(dir, path),
            Access::ReadOnly => open_for_reading(path.clone(), is_folder_writable(&path)),
        }
    }
}

/// Path of the database in the folder `dir`.
pub(super) fn database(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Opens a database without changing it. If its folder is not `writable`, the database is treated as unchanging, and
/// its log must be empty or have its shared memory next to it.
pub(super) fn open_for_reading(path: PathBuf, writable: bool) -> Result<Sqlite, OpenError> {
    // For an empty file SQLite removes the log, which may hold the only remaining data.
    if !fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() > 0) {
        return Err(OpenError::NotReady(path));
    }
    let immutable = is_immutable(&path, writable)?;
    let sqlite = |error: rusqlite::Error| OpenError::Sqlite { path: path.clone(), error: error.into() };
    let readers = Readers::new(path.clone(), immutable);
    match readers.read(version).map_err(sqlite)? {
        SCHEMA_VERSION => Ok(Sqlite::from_parts(path, readers, None, &CacheGenerations::default())),
        found if found > SCHEMA_VERSION => Err(OpenError::Newer { path, found, known: SCHEMA_VERSION }),
        _ => Err(OpenError::NotReady(path)),
    }
}

/// Whether a database can't be changed by any process, judging by its folder.
pub(super) fn is_immutable(path: &Path, writable: bool) -> Result<bool, OpenError> {
    let has_log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if !writable && has_log && !beside(path, "-shm").exists() {
        return Err(OpenError::Unclean(path.to_owned()));
    }
    Ok(!writable && !has_log)
}

/// Whether a reader can create the shared memory next to the log.
pub(super) fn is_folder_writable(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(path);
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

fn open_for_writing(dir: &Path, path: PathBuf) -> Result<Sqlite, OpenError> {
    fs::create_dir_all(dir).map_err(|error| folder_error(dir, error))?;
    remove_dry_runs(dir);
    let sqlite = |error: rusqlite::Error| OpenError::Sqlite { path: path.clone(), error: error.into() };
    let mut connection = connect(&path).map_err(sqlite)?;
    keep_temporary_files_in(dir, &connection).map_err(sqlite)?;
    let found = version(&connection).map_err(sqlite)?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { path, found, known: SCHEMA_VERSION });
    }
    if found < SCHEMA_VERSION {
        if found > 0 {
            write_copy(&connection, &path, found).map_err(sqlite)?;
        }
        let migrated = migrations::migrations::runner().run(&mut connection);
        migrated.map_err(|error| OpenError::Migration { path: path.clone(), error })?;
        checkpoint(&connection).map_err(sqlite)?;
        sync_folder(dir)?;
        if let Some(parent) = dir.canonicalize().ok().as_deref().and_then(Path::parent) {
            sync_folder(parent)?;
        }
    }
    let bounded = shorten_details::finish(&mut connection);
    if bounded.map_err(|error| OpenError::Sqlite { path: path.clone(), error: error.into() })? {
        checkpoint(&connection).map_err(sqlite)?;
    }
    connection.pragma_update(None, "foreign_keys", true).map_err(sqlite)?;
    // Rollback data of statements stays in memory: a deletion must not need space on a full disk.
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(sqlite)?;
    let writer_yield = yield_while_writing(&mut connection).map_err(sqlite)?;
    let invalidation = CacheInvalidation::watch(&connection).map_err(sqlite)?;
    let generations = CacheGenerations::default();
    let writer = Writer::start(connection, writer_yield, invalidation, generations.clone())
        .map_err(|error| folder_error(dir, error))?;
    let readers = Readers::new(path.clone(), false);
    Ok(Sqlite::from_parts(path, readers, Some(writer), &generations))
}

/// Makes the thread that writes through `connection` yield the processor while no request waits.
fn yield_while_writing(connection: &mut Connection) -> rusqlite::Result<WriterYield> {
    let writer_yield = WriterYield::default();
    let in_handler = writer_yield.clone();
    let check = move || {
        in_handler.yield_if_idle();
        false
    };
    connection.progress_handler(OPERATIONS_PER_YIELD, Some(check))?;
    Ok(writer_yield)
}

/// Makes SQLite write temporary data that does not fit into memory to unnamed files in `dir`: in a container there may
/// be no other writable folder. This applies to the whole process.
fn keep_temporary_files_in(dir: &Path, connection: &Connection) -> rusqlite::Result<()> {
    // If the name is not UTF-8, SQLite keeps its default folders.
    let Some(dir) = dir.to_str() else { return Ok(()) };
    connection.pragma_update(None, "temp_store_directory", dir)
}

/// Creates a database with the schema of an older version.
#[cfg(test)]
pub(crate) fn create_old_database(dir: &Path, version: i32) -> Connection {
    let mut connection = connect(&dir.join(FILE)).expect("created");
    let runner = migrations::migrations::runner().set_target(refinery::Target::Version(version));
    runner.run(&mut connection).expect("migrated");
    connection
}

/// Checkpoints what the migrations wrote from the log into the database. Otherwise the log would keep that much disk
/// space, which matters with a small budget. If another process reads the database, this happens later.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    // Lets the database return space without a rewrite. It can only be chosen before the first table exists.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    keep_plans(&connection)?;
    connection.set_prepared_statement_cache_capacity(192);
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    let history = "SELECT 1 FROM sqlite_schema WHERE name = 'refinery_schema_history'";
    if connection.query_row(history, [], |_| Ok(())).optional()?.is_none() {
        return Ok(0);
    }
    connection
        .query_row("SELECT coalesce(max(version), 0) FROM refinery_schema_history", [], |row| row.get(0))
}

fn write_copy(connection: &Connection, path: &Path, found: u32) -> rusqlite::Result<()> {
    let copy = path.with_extension(format!("db.before-v{}", found + 1));
    if copy.exists() {
        return Ok(());
    }
    // A crash must not leave a partial copy under the final name.
    let part = copy.with_extension("part");
    let _ = fs::remove_file(&part);
    connection.execute("VACUUM INTO ?1", [part.to_string_lossy()])?;
    fs::rename(&part, &copy).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Removes the folders of dry runs that were killed.
fn remove_dry_runs(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(DRY_RUN_PREFIX)) {
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Makes the new database's directory entry durable.
fn sync_folder(dir: &Path) -> Result<(), OpenError> {
    let synced = fs::File::open(dir).and_then(|folder| folder.sync_all());
    synced.map_err(|error| folder_error(dir, error))
}

pub(super) fn folder_error(dir: &Path, error: std::io::Error) -> OpenError {
    OpenError::Folder { path: dir.into(), error }
}
