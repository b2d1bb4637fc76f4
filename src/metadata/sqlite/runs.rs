//! Which run of the server, or of a command, used the database last: by that a lost or replaced database is
//! recognised.

use std::path::{Path, PathBuf};

use super::maintenance::{fact, set_fact};
use super::{Durability, OpenError, SqliteMetadata, log, open, writer};
use crate::metadata::Result;

/// The fact with the id of the last run.
pub(super) const RUN: &str = "run";

/// The fact that keeps a registry closed that has lost its accounts.
const STAYS_CLOSED: &str = "stays_closed";

impl SqliteMetadata {
    /// The database's file in the folder `dir`.
    pub fn file_in(dir: &Path) -> PathBuf {
        open::database(dir)
    }

    /// The id of the last run that was recorded.
    ///
    /// # Errors
    /// [`crate::metadata::MetadataError`].
    pub fn run(&self) -> Result<Option<String>> {
        self.read(|c| fact(c, RUN))
    }

    /// Records the id of a run, durably; with `stays_closed` also that the registry has lost its accounts and must
    /// not open for that.
    ///
    /// # Errors
    /// [`crate::metadata::MetadataError`].
    pub async fn record_run(&self, run: &str, stays_closed: bool) -> Result<()> {
        let run = run.to_owned();
        self.write(Durability::Full, move |c| {
            if stays_closed {
                set_fact(c, STAYS_CLOSED, "true")?;
            }
            set_fact(c, RUN, &run)
        })
        .await
    }

    /// Whether the registry stays closed even without users, because it has lost its accounts.
    ///
    /// # Errors
    /// [`crate::metadata::MetadataError`].
    pub fn stays_closed(&self) -> Result<bool> {
        self.read(|c| Ok(fact(c, STAYS_CLOSED)?.is_some()))
    }

    /// Whether there is anything to pull.
    ///
    /// # Errors
    /// [`crate::metadata::MetadataError`].
    pub fn has_images(&self) -> Result<bool> {
        let any = "SELECT EXISTS (SELECT 1 FROM blobs) OR EXISTS (SELECT 1 FROM manifests)";
        self.read(|c| c.query_row(any, [], |row| row.get(0)))
    }

    /// Moves every change from the log into the database. Returns whether the database is complete without its log
    /// now. The log stays in its place.
    ///
    /// # Errors
    /// [`crate::metadata::MetadataError`].
    pub fn fold_log(&self) -> Result<bool> {
        log::fold(&self.path).map_err(|error| writer::failure(&error))
    }

    /// The same for a database that is not open.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn fold_log_in(dir: &Path) -> std::result::Result<bool, OpenError> {
        let path = open::database(dir);
        log::fold(&path).map_err(|error| OpenError::Sqlite { path, error })
    }

    /// Whether the log stays in its place when the database is closed, as when the process is killed. By default it
    /// is removed.
    pub fn keep_log(&self, keep: bool) {
        if let Some(writer) = &self.writer {
            writer.keep_log(keep);
        }
    }
}
