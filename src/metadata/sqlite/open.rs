//! Opening: making, migrating, or refusing a database.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use thiserror::Error;

use super::bounding;
use super::cache_invalidation::CacheInvalidation;
use super::query_cache::CacheGenerations;
use super::readers::Readers;
use super::writer::Writer;
use super::writer_yield::WriterYield;
use super::{Access, SqliteMetadata};

mod migrations {
    refinery::embed_migrations!("src/metadata/sqlite/migrations");
}

/// The schema's version that this program writes.
pub const SCHEMA_VERSION: u32 = 15;

const FILE: &str = "orlop.db";

/// How the names of the folders begin that dry runs work in.
pub(super) const DRY_RUN: &str = "orlop.dry-run-";

/// How many pages the log may hold before it is folded into the database: about 16 MiB.
const CHECKPOINT_PAGES: u32 = 4096;

/// Why the facts could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A newer program has written it.
    #[error("the metadata in {path} is of version {found}; this program knows versions up to {known}")]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// Read-only without room for its shared memory, and its last changes are in the log alone.
    #[error(
        "the metadata in {0} was not closed cleanly, and what its log holds cannot be read from a read-only \
         folder: open it for writing once, or give a copy of the folder"
    )]
    Unclean(PathBuf),
    /// Read-only, and there is nothing to read or it first needs a migration.
    #[error("the metadata in {0} must first be opened for writing: it is absent or of an older version")]
    NotReady(PathBuf),
    /// The folder.
    #[error("the metadata folder {path}: {error}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: std::io::Error,
    },
    /// SQLite.
    #[error("the metadata in {path}: {error}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What it said.
        error: rusqlite::Error,
    },
    /// A migration.
    #[error("the metadata in {path} could not be brought up to this version: {error}")]
    Migration {
        /// The database.
        path: PathBuf,
        /// What went wrong.
        error: refinery::Error,
    },
}

pub(super) fn open(dir: &Path, access: Access) -> Result<SqliteMetadata, OpenError> {
    let path = database(dir);
    match access {
        Access::ReadWrite => open_for_writing(dir, path),
        Access::ReadOnly => open_for_reading(path.clone(), folder_is_writable(&path)),
    }
}

/// The database in the folder `dir`.
pub(super) fn database(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Opens a database without changing it. In a folder that is not `writable` it is taken for one that nobody
/// changes, and its log must be empty or have its shared memory beside it.
pub(super) fn open_for_reading(path: PathBuf, writable: bool) -> Result<SqliteMetadata, OpenError> {
    // With an empty file SQLite removes the log, which may be all that is left.
    if !fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() > 0) {
        return Err(OpenError::NotReady(path));
    }
    let immutable = is_immutable(&path, writable)?;
    let sqlite = |error| OpenError::Sqlite { path: path.clone(), error };
    let readers = Readers::new(path.clone(), immutable);
    match readers.read(version).map_err(sqlite)? {
        SCHEMA_VERSION => Ok(SqliteMetadata::over(path, readers, None, &CacheGenerations::default())),
        found if found > SCHEMA_VERSION => Err(OpenError::Newer { path, found, known: SCHEMA_VERSION }),
        _ => Err(OpenError::NotReady(path)),
    }
}

/// Whether nobody can change a database, as far as its folder shows.
pub(super) fn is_immutable(path: &Path, writable: bool) -> Result<bool, OpenError> {
    let has_log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if !writable && has_log && !beside(path, "-shm").exists() {
        return Err(OpenError::Unclean(path.to_owned()));
    }
    Ok(!writable && !has_log)
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether a reader can make the shared memory beside the log.
pub(super) fn folder_is_writable(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(path);
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

fn open_for_writing(dir: &Path, path: PathBuf) -> Result<SqliteMetadata, OpenError> {
    fs::create_dir_all(dir).map_err(|error| folder(dir, error))?;
    forget_dry_runs(dir);
    let sqlite = |error| OpenError::Sqlite { path: path.clone(), error };
    let mut connection = connect(&path).map_err(sqlite)?;
    keep_temporary_files_in(dir, &connection).map_err(sqlite)?;
    let found = version(&connection).map_err(sqlite)?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { path, found, known: SCHEMA_VERSION });
    }
    if found < SCHEMA_VERSION {
        if found > 0 {
            keep_copy(&connection, &path, found).map_err(sqlite)?;
        }
        let migrated = migrations::migrations::runner().run(&mut connection);
        migrated.map_err(|error| OpenError::Migration { path: path.clone(), error })?;
        fold_log(&connection).map_err(sqlite)?;
        sync_folder(dir)?;
        if let Some(parent) = dir.canonicalize().ok().as_deref().and_then(Path::parent) {
            sync_folder(parent)?;
        }
    }
    if bounding::finish(&mut connection).map_err(sqlite)? {
        fold_log(&connection).map_err(sqlite)?;
    }
    connection.pragma_update(None, "foreign_keys", true).map_err(sqlite)?;
    // What a change may have to take back: a deletion must not need room on a disk that is full.
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(sqlite)?;
    let patience = WriterYield::of(&mut connection).map_err(sqlite)?;
    let (touched, epochs) =
        (CacheInvalidation::watch(&connection).map_err(sqlite)?, CacheGenerations::default());
    let writer =
        Writer::start(connection, patience, touched, epochs.clone()).map_err(|error| folder(dir, error))?;
    let readers = Readers::new(path.clone(), false);
    Ok(SqliteMetadata::over(path, readers, Some(writer), &epochs))
}

/// Makes SQLite write what does not fit into memory to `dir`, in files that no one else sees: in a container there
/// may be no other folder to write to. It holds for the whole process.
fn keep_temporary_files_in(dir: &Path, connection: &Connection) -> rusqlite::Result<()> {
    // Only SQLite's own folders are left where the name is not UTF-8.
    let Some(dir) = dir.to_str() else { return Ok(()) };
    connection.pragma_update(None, "temp_store_directory", dir)
}

/// Makes a database as an older program did.
#[cfg(test)]
pub(crate) fn make_old(dir: &Path, version: i32) -> Connection {
    let mut connection = connect(&dir.join(FILE)).expect("made");
    let runner = migrations::migrations::runner().set_target(refinery::Target::Version(version));
    runner.run(&mut connection).expect("migrated");
    connection
}

/// Moves what the migrations wrote from the log into the database: the log would go on taking as much of the disk,
/// and of a small budget. Where somebody else reads the database, it stays for later.
fn fold_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    // Only before the first table can this be chosen, so that space is given back without a rewrite.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    super::keep_plans(&connection)?;
    connection.set_prepared_statement_cache_capacity(128);
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

fn keep_copy(connection: &Connection, path: &Path, found: u32) -> rusqlite::Result<()> {
    let copy = path.with_extension(format!("db.before-v{}", found + 1));
    if copy.exists() {
        return Ok(());
    }
    // A crash must not leave half a copy under the name of a whole one.
    let part = copy.with_extension("part");
    let _ = fs::remove_file(&part);
    connection.execute("VACUUM INTO ?1", [part.to_string_lossy()])?;
    fs::rename(&part, &copy).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Removes what a dry run left that was killed.
fn forget_dry_runs(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(DRY_RUN)) {
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Makes the new database's directory entry durable.
fn sync_folder(dir: &Path) -> Result<(), OpenError> {
    let synced = fs::File::open(dir).and_then(|folder| folder.sync_all());
    synced.map_err(|error| folder(dir, error))
}

pub(super) fn folder(dir: &Path, error: std::io::Error) -> OpenError {
    OpenError::Folder { path: dir.into(), error }
}
