//! The SQLite engine: one database file in WAL mode, one writer thread with group commit and a few reader connections.
//!
//! Short reads run on the calling thread: each touches a handful of pages, found by key. Reads of many pages run on
//! the blocking pool. The server rejects a database on a network filesystem before it gets here: WAL needs shared
//! memory, which works on one machine only.

mod connection;
mod inspect;
mod log;
mod open;
mod query_cache;
mod readers;
mod shorten_details;
#[cfg(test)]
mod tests;
mod upkeep;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;

use self::query_cache::{CacheGenerations, QueryCache};
use self::readers::Readers;
use self::writer::{Writer, to_metadata_error};
use super::sql::{self, Connection};
use super::transaction::{Durability, MetadataError, Result, Urgency};
use super::{BlobRecord, ManifestRecord};
use crate::oci::{Digest, Reference};

pub use inspect::{DatabaseState, Inspection, inspect};
pub(in crate::metadata) use open::DRY_RUN_PREFIX;
#[cfg(test)]
pub(crate) use open::create_old_database;
pub use open::{OpenError, SCHEMA_VERSION};
pub use upkeep::fold_log_in;

/// A metadata store in an SQLite database.
pub(in crate::metadata) struct Sqlite {
    path: PathBuf,
    readers: Arc<Readers>,
    /// Limits how many list pages are read at the same time.
    pub(in crate::metadata) page_permits: Semaphore,
    writer: Option<Writer>,
    pub(in crate::metadata) caches: Caches,
}

/// Results of queries that are kept until their repository changes.
pub(in crate::metadata) struct Caches {
    pub(in crate::metadata) manifests: QueryCache<Reference, ManifestRecord>,
    pub(in crate::metadata) blobs: QueryCache<Digest, BlobRecord>,
}

impl Sqlite {
    fn from_parts(
        path: PathBuf,
        readers: Readers,
        writer: Option<Writer>,
        generations: &CacheGenerations,
    ) -> Self {
        let caches = Caches {
            manifests: QueryCache::new(generations.clone()),
            blobs: QueryCache::new(generations.clone()),
        };
        let page_permits =
            Semaphore::new(std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2)));
        Self { path, readers: Arc::new(readers), page_permits, writer, caches }
    }

    /// Path of the database file.
    pub(in crate::metadata) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the database was opened only for reading.
    pub(in crate::metadata) fn is_read_only(&self) -> bool {
        self.writer.is_none()
    }

    /// Runs a change in a transaction, and returns after its COMMIT. The change holds and writes about
    /// `bytes` bytes.
    pub(in crate::metadata) async fn write<T, F>(
        &self,
        durability: Durability,
        urgency: Urgency,
        bytes: usize,
        change: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        self.writer()?.write(durability, urgency, bytes, change).await
    }

    /// Returns how many transactions this process has committed.
    pub(in crate::metadata) fn commits(&self) -> u64 {
        self.writer.as_ref().map_or(0, Writer::commits)
    }

    fn writer(&self) -> Result<&Writer> {
        self.writer.as_ref().ok_or(MetadataError::ReadOnly)
    }

    /// Runs a query that reads a few pages, on the calling thread.
    pub(in crate::metadata) fn read<T>(
        &self,
        query: impl FnOnce(&dyn Connection) -> sql::Result<T>,
    ) -> Result<T> {
        self.readers.read(|c| query(c)).map_err(to_metadata_error)
    }

    /// Runs a query on the blocking pool.
    pub(in crate::metadata) async fn read_blocking<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        self.run_blocking(move |readers| readers.read(|c| query(c))).await
    }

    /// Runs a query that reads a large part of the database on the blocking pool, in one read transaction.
    pub(in crate::metadata) async fn read_report<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        self.run_blocking(move |readers| readers.read_report(query)).await
    }

    async fn run_blocking<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Readers) -> sql::Result<T> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let read = tokio::task::spawn_blocking(move || read(&readers));
        let outcome = read.await.map_err(|error| MetadataError::Failed(error.into()))?;
        outcome.map_err(to_metadata_error)
    }
}
