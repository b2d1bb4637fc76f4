//! Where the database is. SQLite goes on writing to a file that was deleted, or whose volume was unmounted,
//! and tells nobody: what is answered then is gone with the process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Error, ffi};

/// The place of a database that is open.
pub(super) struct Place {
    path: PathBuf,
    file: (u64, u64),
}

impl Place {
    pub(super) fn of(connection: &Connection) -> Option<Self> {
        let path = PathBuf::from(connection.path()?);
        let file = identify(&path)?;
        Some(Self { path, file })
    }

    /// Makes sure that the file that is open is still the one with the database's name.
    pub(super) fn verify(&self) -> rusqlite::Result<()> {
        if identify(&self.path) == Some(self.file) {
            return Ok(());
        }
        let message = format!("{} is not the file that was opened", self.path.display());
        Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOTFOUND), Some(message)))
    }
}

fn identify(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}
