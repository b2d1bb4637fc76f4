//! Runs rules and queries on the engine that stores the metadata.

use std::path::{Path, PathBuf};
use std::pin::pin;

use super::sql::{self, Connection};
use super::sqlite::{Caches, OpenError, Sqlite};
use super::{Metadata, Operation, Result};
use crate::traces;

/// Whether the database may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It may be changed.
    ReadWrite,
    /// It may not be changed, not even by opening it.
    ReadOnly,
}

/// What a change must survive once its caller has the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The death of the process.
    Lazy,
    /// A power cut.
    Full,
}

/// Whether a request waits for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// A request waits for it.
    Awaited,
    /// Only background work waits for it.
    Behind,
}

/// The engines that can store metadata.
pub(super) enum Engine {
    Sqlite(Sqlite),
}

impl Metadata {
    /// Opens the database in the folder `dir`, creates both if they are missing, and migrates the database to this
    /// version's schema. Before a migration it writes a copy of the database next to it.
    ///
    /// # Errors
    /// Fails if a newer version wrote the database, if the folder is not writable, or if the engine fails.
    pub fn open(dir: &Path, access: Access) -> std::result::Result<Self, OpenError> {
        let engine = Engine::Sqlite(Sqlite::open(dir, access)?);
        Ok(Self {
            engine,
            #[cfg(any(test, feature = "testing"))]
            faults: None,
        })
    }

    /// Path of the database file.
    pub fn path(&self) -> &Path {
        self.sqlite().path()
    }

    /// Path of the database in the folder `dir`.
    pub fn file_in(dir: &Path) -> PathBuf {
        Sqlite::file_in(dir)
    }

    /// Moves every change from the log into the database. Returns whether the database is now complete without its log.
    /// The log file stays in place.
    ///
    /// # Errors
    /// Fails if the database can't be written.
    pub fn checkpoint_log(&self) -> Result<bool> {
        self.sqlite().checkpoint_log()
    }

    /// Sets whether closing the database leaves its log in place, as if the process had been killed. By default the log
    /// is removed.
    pub fn set_keep_log(&self, keep: bool) {
        self.sqlite().set_keep_log(keep);
    }

    pub(super) fn sqlite(&self) -> &Sqlite {
        let Engine::Sqlite(engine) = &self.engine;
        engine
    }

    /// Results of queries that are kept until their repository changes.
    pub(super) fn caches(&self) -> &Caches {
        &self.sqlite().caches
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.sqlite().is_read_only()
    }

    /// Runs the body of a public method: the one place where tests inject faults.
    pub(super) async fn perform<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        // Pinned first, so that the two ways to run it share its memory.
        let work = pin!(work);
        #[cfg(any(test, feature = "testing"))]
        if let Some(faults) = &self.faults {
            return faults.apply(operation, work).await;
        }
        let _ = operation;
        work.await
    }

    /// Runs a change in a transaction and returns after its COMMIT.
    pub(super) async fn write<T, F>(&self, durability: Durability, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        self.write_weighed(durability, 0, change).await
    }

    /// Runs a change that holds and writes about `bytes` bytes. Small changes do not wait for large ones.
    pub(super) async fn write_weighed<T, F>(
        &self,
        durability: Durability,
        bytes: usize,
        change: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        let write = self.sqlite().write(durability, Urgency::Awaited, bytes, change);
        traces::start_step("metadata write").run(write).await
    }

    /// Runs a change with low urgency: no request waits for it.
    pub(super) async fn write_behind<T, F>(&self, durability: Durability, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        self.sqlite().write(durability, Urgency::Behind, 0, change).await
    }

    /// Runs a query that reads a few pages, on the calling thread.
    pub(super) fn read<T>(&self, query: impl FnOnce(&dyn Connection) -> sql::Result<T>) -> Result<T> {
        self.sqlite().read(query)
    }

    /// Runs a query that may take long on the blocking pool, away from the threads that serve requests.
    pub(super) async fn read_blocking<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        traces::start_step("metadata read").run(self.sqlite().read_blocking(query)).await
    }

    /// Runs a query for a page of a list on the blocking pool. Only a few run at the same time: the threads that serve
    /// requests need processors too.
    pub(super) async fn read_page<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        let _permit = self.sqlite().page_permits.acquire().await;
        self.read_blocking(query).await
    }

    /// Runs a query that reads a large part of the database on the blocking pool, in one read transaction.
    pub(super) async fn read_report<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        traces::start_step("metadata read").run(self.sqlite().read_report(query)).await
    }
}
