//! Records which run of the server or of a command used the database last. This reveals a lost or replaced database.

use crate::metadata::facts::{RUN_KEY, read_value, write_value};
use crate::metadata::{Durability, Metadata, Result};

/// Key that keeps a registry closed after it has lost its accounts.
const STAYS_CLOSED_KEY: &str = "stays_closed";

impl Metadata {
    /// Returns the id of the last run that was recorded.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub fn run(&self) -> Result<Option<String>> {
        self.read(|c| read_value(c, RUN_KEY))
    }

    /// Durably records the id of a run. With `stays_closed` it also records that the registry has lost its accounts and
    /// must not become open to everyone.
    ///
    /// # Errors
    /// Fails if the database can't be written.
    pub async fn record_run(&self, run: &str, stays_closed: bool) -> Result<()> {
        let run = run.to_owned();
        self.write(Durability::Full, move |c| {
            if stays_closed {
                write_value(c, STAYS_CLOSED_KEY, "true")?;
            }
            write_value(c, RUN_KEY, &run)
        })
        .await
    }

    /// Whether the registry stays closed even without users, because it has lost its accounts.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub fn stays_closed(&self) -> Result<bool> {
        self.read(|c| Ok(read_value(c, STAYS_CLOSED_KEY)?.is_some()))
    }

    /// Whether the database records any blob or manifest.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub fn has_images(&self) -> Result<bool> {
        let any = "SELECT EXISTS (SELECT 1 FROM blobs) OR EXISTS (SELECT 1 FROM manifests)";
        self.read(|c| c.query_row(any, [], |row| row.get(0)))
    }
}
