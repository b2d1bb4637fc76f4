//! Detects that the database file was deleted or its volume unmounted. SQLite keeps writing to such a file without an
//! error, and all these changes are lost when the process ends.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Error, ffi};

/// The file of an open database.
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
