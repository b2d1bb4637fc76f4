//! The facts in SQLite: one database file in WAL mode, one writer with group commit, a few readers.
//!
//! Reads run on the calling thread: each is a handful of pages, found by key. What pages through much runs
//! aside. A database on a network filesystem is refused by the server before it gets here: WAL needs shared
//! memory that only one machine has.

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
pub(crate) use open::make_old;
pub use open::{OpenError, SCHEMA_VERSION};

use self::query_cache::{CacheGenerations, QueryCache};
use self::readers::Readers;
use self::writer::{Durability, Urgency, Writer};
use super::{BlobRecord, ManifestRecord, MetadataError, Result};
use crate::oci::{Digest, Reference, RepoName};
use crate::traces;

/// Whether facts may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// They may.
    ReadWrite,
    /// They may not, not even by opening.
    ReadOnly,
}

/// The facts, in a SQLite database.
pub struct SqliteMetadata {
    path: PathBuf,
    readers: Arc<Readers>,
    /// Pages that may be read at once.
    pages: Semaphore,
    writer: Option<Writer>,
    manifests: QueryCache<Reference, ManifestRecord>,
    blobs: QueryCache<Digest, BlobRecord>,
}

impl SqliteMetadata {
    /// Opens the database in the folder `dir`, making both where there are none, and brings it up to this
    /// version's schema. Before a migration a copy of the database is laid beside it.
    ///
    /// # Errors
    /// [`OpenError`]: a newer version's database, a folder that cannot be written, or SQLite's own.
    pub fn open(dir: &Path, access: Access) -> std::result::Result<Self, OpenError> {
        open::open(dir, access)
    }

    fn over(path: PathBuf, readers: Readers, writer: Option<Writer>, epochs: &CacheGenerations) -> Self {
        let (manifests, blobs) = (QueryCache::new(epochs.clone()), QueryCache::new(epochs.clone()));
        let pages =
            Semaphore::new(std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2)));
        Self { path, readers: Arc::new(readers), pages, writer, manifests, blobs }
    }

    /// The database file.
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

    /// A change that holds and writes about so many bytes. Small changes do not wait for large ones.
    async fn write_weighed<T, F>(&self, durability: Durability, bytes: usize, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let write = self.writer()?.write(durability, Urgency::Awaited, bytes, change);
        traces::step("metadata write").run(write).await
    }

    /// A change that may take its time, since no request waits for it.
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

    /// A read of a few pages.
    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.readers.read(query).map_err(|error| writer::failure(&error))
    }

    /// A read that may take its time, off the threads that serve requests.
    async fn read_blocking<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.aside(move |readers| readers.read(query)).await
    }

    /// A read for a page of a list, likewise, but few at once: the threads that serve requests need processors too.
    async fn read_page<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let _turn = self.pages.acquire().await;
        self.read_blocking(query).await
    }

    /// A read of a great many of the database's pages, of one moment, likewise.
    async fn read_much<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.aside(move |readers| readers.read_much(query)).await
    }

    async fn aside<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Readers) -> rusqlite::Result<T> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let read = tokio::task::spawn_blocking(move || read(&readers));
        let outcome = traces::step("metadata read")
            .run(read)
            .await
            .map_err(|error| MetadataError::Failed(error.to_string()))?;
        outcome.map_err(|error| writer::failure(&error))
    }
}

/// Lets a prepared statement keep its plan whatever is bound to it. Otherwise SQLite parses and plans it
/// anew for each value, which costs several times what the query does.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// How many rows are read for a page: one more than its limit tells whether more follow.
fn one_more(limit: usize) -> isize {
    limit.saturating_add(1).cast_signed()
}

/// The id of a repository.
fn repo_id(connection: &Connection, name: &RepoName) -> rusqlite::Result<Option<i64>> {
    let mut query = connection.prepare_cached("SELECT id FROM repositories WHERE name = ?1")?;
    query.query_row([name.as_str()], |row| row.get(0)).optional()
}

/// The id of a repository, which is made if there is none.
fn make_repo(
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

/// A name read from its column; only valid ones are ever written.
fn name_from<T: std::str::FromStr>(text: &str, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}
