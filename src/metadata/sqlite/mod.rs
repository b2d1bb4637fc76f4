//! SQLite implementation of the metadata store: one database file in WAL mode, one writer thread with group commit
//! and a few reader connections.
//!
//! Short reads run on the calling thread: each touches a handful of pages, found by key. Reads of many pages run on
//! the blocking pool. The server rejects a database on a network filesystem before it gets here: WAL needs shared
//! memory, which works on one machine only.

mod accounting;
mod accounts;
mod attached;
mod audit;
mod blobs;
mod bounding;
mod cache_invalidation;
mod change_queue;
mod clock;
mod codec;
mod collection;
mod deletion;
mod details;
mod events;
mod expiry;
mod freed;
mod history;
mod holdings;
mod holds;
mod inspect;
mod leased;
mod links;
mod listings;
mod log;
mod maintenance;
mod manifests;
mod open;
mod pins;
mod place;
mod policies;
mod purge;
mod query_cache;
mod quotas;
mod readers;
mod relief;
mod repositories;
mod restore;
mod review;
mod runs;
mod scrub;
mod snapshots;
mod superfluous;
mod tags;
#[cfg(test)]
mod tests;
mod trash;
mod unreferenced;
mod uploads;
mod usage;
mod verify;
mod why;
mod writer;
mod writer_yield;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;

pub use inspect::{DatabaseState, Inspection};
#[cfg(test)]
pub(crate) use open::create_old_database;
pub use open::{OpenError, SCHEMA_VERSION};

use self::query_cache::{CacheGenerations, QueryCache};
use self::readers::Readers;
use self::writer::{Durability, Urgency, Writer};
use super::{BlobRecord, ManifestRecord, MetadataError, Result};
use crate::oci::{Digest, Reference, RepoName};
use crate::traces;

/// Whether the database may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It may be changed.
    ReadWrite,
    /// It may not be changed, not even by opening it.
    ReadOnly,
}

/// A metadata store in a SQLite database.
pub struct SqliteMetadata {
    path: PathBuf,
    readers: Arc<Readers>,
    /// Limits how many list pages are read at the same time.
    page_permits: Semaphore,
    writer: Option<Writer>,
    manifests: QueryCache<Reference, ManifestRecord>,
    blobs: QueryCache<Digest, BlobRecord>,
}

impl SqliteMetadata {
    /// Opens the database in the folder `dir`, creates both if they are missing, and migrates the database to this
    /// version's schema. Before a migration it writes a copy of the database next to it.
    ///
    /// # Errors
    /// Fails if a newer version wrote the database, if the folder is not writable, or if SQLite fails.
    pub fn open(dir: &Path, access: Access) -> std::result::Result<Self, OpenError> {
        open::open(dir, access)
    }

    fn from_parts(
        path: PathBuf,
        readers: Readers,
        writer: Option<Writer>,
        generations: &CacheGenerations,
    ) -> Self {
        let manifests = QueryCache::new(generations.clone());
        let blobs = QueryCache::new(generations.clone());
        let page_permits =
            Semaphore::new(std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2)));
        Self { path, readers: Arc::new(readers), page_permits, writer, manifests, blobs }
    }

    /// Path of the database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn write<T, F>(&self, durability: Durability, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.write_weighed(durability, 0, change).await
    }

    /// Runs a change that holds and writes about `bytes` bytes. Small changes do not wait for large ones.
    async fn write_weighed<T, F>(&self, durability: Durability, bytes: usize, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let write = self.writer()?.write(durability, Urgency::Awaited, bytes, change);
        traces::start_step("metadata write").run(write).await
    }

    /// Runs a change with low urgency: no request waits for it.
    async fn write_behind<T, F>(&self, durability: Durability, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.writer()?.write(durability, Urgency::Behind, 0, change).await
    }

    fn writer(&self) -> Result<&Writer> {
        self.writer.as_ref().ok_or(MetadataError::ReadOnly)
    }

    /// Runs a query that reads a few pages, on the calling thread.
    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.readers.read(query).map_err(|error| writer::to_metadata_error(&error))
    }

    /// Runs a query that may take long on the blocking pool, away from the threads that serve requests.
    async fn read_blocking<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run_blocking(move |readers| readers.read(query)).await
    }

    /// Runs a query for a page of a list on the blocking pool. Only a few run at the same time: the threads that serve
    /// requests need processors too.
    async fn read_page<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let _permit = self.page_permits.acquire().await;
        self.read_blocking(query).await
    }

    /// Runs a query that reads a large part of the database on the blocking pool, in one read transaction.
    async fn read_report<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run_blocking(move |readers| readers.read_report(query)).await
    }

    async fn run_blocking<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Readers) -> rusqlite::Result<T> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let read = tokio::task::spawn_blocking(move || read(&readers));
        let outcome = traces::start_step("metadata read")
            .run(read)
            .await
            .map_err(|error| MetadataError::Failed(error.to_string()))?;
        outcome.map_err(|error| writer::to_metadata_error(&error))
    }
}

/// Makes prepared statements keep their plan for all bound values. Otherwise SQLite parses and plans a statement
/// again for each value, which costs several times as much as the query itself.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Number of rows to read for a page: one more than its limit, to find out whether more follow.
fn limit_plus_one(limit: usize) -> isize {
    limit.saturating_add(1).cast_signed()
}

/// Finds the id of a repository.
fn repo_id(connection: &Connection, name: &RepoName) -> rusqlite::Result<Option<i64>> {
    let mut query = connection.prepare_cached("SELECT id FROM repositories WHERE name = ?1")?;
    query.query_row([name.as_str()], |row| row.get(0)).optional()
}

/// Returns the id of a repository and creates the repository if it does not exist.
fn ensure_repo(
    connection: &Connection,
    name: &RepoName,
    now: crate::clock::Timestamp,
) -> rusqlite::Result<i64> {
    if let Some(id) = repo_id(connection, name)? {
        return Ok(id);
    }
    let mut insert =
        connection.prepare_cached("INSERT INTO repositories (name, created_at) VALUES (?1, ?2)")?;
    insert.insert(rusqlite::params![name.as_str(), now])
}

/// Parses a name from its column. Only valid names are ever written.
fn parse_name<T: std::str::FromStr>(text: &str, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}
