//! Runs rules and queries on the engine that stores the metadata.

use std::path::{Path, PathBuf};
use std::pin::pin;

use super::sql::{self, Connection};
use super::sqlite::{OpenError, Sqlite};
use super::transaction::Urgency;
use super::unverified_hint::UnverifiedHint;
use super::{Access, Durability, Operation, Result};
use crate::traces;

/// The engines that can store metadata.
pub(super) enum Engine {
    Sqlite(Sqlite),
}

/// The metadata store.
pub struct Metadata {
    pub(super) engine: Engine,
    pub(super) unverified: UnverifiedHint,
    /// Faults that tests inject.
    #[cfg(any(test, feature = "testing"))]
    pub(super) faults: Option<super::Faults>,
}

impl Metadata {
    /// Opens the database in the folder `dir`, creates both if they are missing, and migrates the database to this
    /// version's schema. Before a migration it writes a copy of the database next to it.
    ///
    /// # Errors
    /// Fails if a newer version wrote the database, if the folder is not writable, or if the engine fails.
    pub fn open(dir: &Path, access: Access) -> std::result::Result<Self, OpenError> {
        Ok(Self {
            engine: Engine::Sqlite(Sqlite::open(dir, access)?),
            unverified: UnverifiedHint::default(),
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

    /// Returns a number that grows with every change that this process makes. Another process may change the database,
    /// too, so that a cached result also needs a maximum age.
    pub fn change_count(&self) -> u64 {
        self.sqlite().commits()
    }

    pub(super) fn sqlite(&self) -> &Sqlite {
        let Engine::Sqlite(engine) = &self.engine;
        engine
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
    pub(super) async fn write_in_background<T, F>(&self, durability: Durability, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        self.sqlite().write(durability, Urgency::Background, 0, change).await
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

    /// Runs an operation that is one change.
    pub(super) async fn change<T, F>(
        &self,
        operation: Operation,
        durability: Durability,
        change: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        self.perform(operation, self.write(durability, change)).await
    }

    /// Runs an operation that is one change of low urgency.
    pub(super) async fn change_in_background<T, F>(
        &self,
        operation: Operation,
        durability: Durability,
        change: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        self.perform(operation, self.write_in_background(durability, change)).await
    }

    /// Runs an operation that is one query of a few pages.
    pub(super) async fn query<T>(
        &self,
        operation: Operation,
        query: impl FnOnce(&dyn Connection) -> sql::Result<T>,
    ) -> Result<T> {
        self.perform(operation, async { self.read(query) }).await
    }

    /// Runs an operation that is one query on the blocking pool.
    pub(super) async fn query_blocking<T, F>(&self, operation: Operation, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        self.perform(operation, self.read_blocking(query)).await
    }

    /// Runs an operation that is one query for a page of a list on the blocking pool. Only a few run at the same time:
    /// the threads that serve requests need processors too.
    pub(super) async fn query_page<T, F>(&self, operation: Operation, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        self.perform(operation, async {
            let _permit = self.sqlite().page_permits.acquire().await;
            self.read_blocking(query).await
        })
        .await
    }

    /// Runs an operation that is one query of a large part of the database on the blocking pool, in one read
    /// transaction.
    pub(super) async fn query_report<T, F>(&self, operation: Operation, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Connection) -> sql::Result<T> + Send + 'static,
    {
        let report = self.sqlite().read_report(query);
        self.perform(operation, traces::start_step("metadata read").run(report)).await
    }
}
