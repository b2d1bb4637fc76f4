//! Statements that only SQLite has: copies, checks of the file, returning free pages, its log.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{OpenError, Sqlite, log, open};
use crate::metadata::sql::{self, Connection};
use crate::metadata::transaction::{Durability, Urgency};
use crate::metadata::{MetadataError, Result};

/// Number of free pages that are returned at once: about 4 MiB.
const VACUUM_PAGES: u32 = 1024;

impl Sqlite {
    /// Path of the database in the folder `dir`.
    pub(in crate::metadata) fn file_in(dir: &Path) -> PathBuf {
        open::database(dir)
    }

    /// See [`crate::metadata::Metadata::checkpoint_log`].
    pub(in crate::metadata) fn checkpoint_log(&self) -> Result<bool> {
        log::checkpoint(&self.path).map_err(|error| super::to_metadata_error(error.into()))
    }

    /// See [`crate::metadata::Metadata::set_keep_log`].
    pub(in crate::metadata) fn set_keep_log(&self, keep: bool) {
        if let Some(writer) = &self.writer {
            writer.set_keep_log(keep);
        }
    }

    /// Bytes that the files of the database occupy on the disk.
    pub(in crate::metadata) fn allocated_bytes(&self) -> Result<u64> {
        let dir = self.path.parent().unwrap_or(&self.path);
        allocated_bytes(dir).map_err(|error| MetadataError::Failed(error.into()))
    }

    /// Writes a consistent copy of the database to the file `path`, which must not exist.
    pub(in crate::metadata) async fn copy_to(&self, path: &Path) -> Result<()> {
        let path = path.to_string_lossy().into_owned();
        self.read_blocking(move |c| c.execute("VACUUM INTO ?1", [path]).map(drop)).await
    }

    /// Returns free pages to the filesystem, if there are many.
    pub(in crate::metadata) async fn tidy(&self) -> Result<()> {
        let free = self.read(|c| c.query_row("PRAGMA freelist_count", [], |row| row.get::<u32>(0)))?;
        if free > VACUUM_PAGES {
            self.write(Durability::Lazy, Urgency::Background, 0, return_free_pages).await?;
        }
        Ok(())
    }

    /// Checks the structure of the database file. Returns the problems found.
    pub(in crate::metadata) async fn verify_structure(&self) -> Result<Vec<String>> {
        self.read_blocking(verify_structure).await
    }
}

/// Moves every change from the log into the closed database in the folder `dir`. See
/// [`crate::metadata::Metadata::checkpoint_log`].
///
/// # Errors
/// Fails if SQLite can't open or change the database.
pub fn fold_log_in(dir: &Path) -> std::result::Result<bool, OpenError> {
    let path = open::database(dir);
    log::checkpoint(&path).map_err(|error| OpenError::Sqlite { path, error: error.into() })
}

/// Returns free pages to the filesystem. Each step of the statement returns one page.
fn return_free_pages(c: &dyn Connection) -> sql::Result<()> {
    let mut vacuum = c.prepare_cached(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut steps = vacuum.query([])?;
    while steps.next()?.is_some() {}
    Ok(())
}

fn verify_structure(c: &dyn Connection) -> sql::Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut integrity = c.prepare_cached("PRAGMA integrity_check(20)")?;
    for row in integrity.query_map([], |row| row.get::<String>(0))? {
        let row = row?;
        if row != "ok" {
            problems.push(format!("the database is corrupt: {row}"));
        }
    }
    let mut foreign = c.prepare_cached("PRAGMA foreign_key_check")?;
    for row in foreign.query_map([], |row| row.get::<String>(0))? {
        problems.push(format!("a row of {} refers to a missing row", row?));
    }
    Ok(problems)
}

/// Sums the allocated bytes of the files in a directory: the database, its log, copies from before migrations, and the
/// reserved space.
fn allocated_bytes(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        match entry?.metadata() {
            Ok(file) if file.is_file() => bytes += file.blocks() * 512,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
