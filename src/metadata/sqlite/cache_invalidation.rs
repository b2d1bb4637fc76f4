//! Finds the repositories whose cached query results a transaction made invalid. Triggers of the writer's connection
//! record them, so that no change can forget to invalidate, and garbage collection in one repository keeps the cached
//! results of the others.

use std::collections::BTreeSet;
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::query_cache::CacheGenerations;
use crate::metadata::sql::{self, OptionalExtension};
use crate::oci::RepoName;

/// Triggers on everything that can make a cached result invalid. Only rows that were found are cached, so new rows do
/// not matter. A blob can't be removed while a link refers to it, nor a repository while anything refers to it.
const TRIGGERS: &str = "
    CREATE TEMP TRIGGER repository_renamed AFTER UPDATE OF id, name ON main.repositories
        BEGIN SELECT touched(NULL); END;
    CREATE TEMP TRIGGER blob_changed AFTER UPDATE OF digest, size, generation, damaged ON main.blobs
        BEGIN SELECT touched(NULL); END;
    CREATE TEMP TRIGGER link_changed AFTER UPDATE OF repo, digest, leased_at, hidden_at ON main.links
        BEGIN SELECT touched(old.repo); END;
    CREATE TEMP TRIGGER link_removed AFTER DELETE ON main.links
        BEGIN SELECT touched(old.repo); END;
    CREATE TEMP TRIGGER manifest_changed
        AFTER UPDATE OF repo, digest, state, media_type, content, leased_at ON main.manifests
        BEGIN SELECT touched(old.repo); END;
    CREATE TEMP TRIGGER manifest_removed AFTER DELETE ON main.manifests
        BEGIN SELECT touched(old.repo); END;
    CREATE TEMP TRIGGER tag_changed AFTER UPDATE ON main.tags
        BEGIN SELECT touched(old.repo); END;
    CREATE TEMP TRIGGER tag_removed AFTER DELETE ON main.tags
        BEGIN SELECT touched(old.repo); END;
";

/// Records the repositories that changed since the last [`CacheInvalidation::apply`].
#[derive(Clone, Default)]
pub(super) struct CacheInvalidation(Arc<Mutex<Rows>>);

/// Ids of repositories; `None` stands for every repository.
type Rows = BTreeSet<Option<i64>>;

impl CacheInvalidation {
    /// Records the changes made through `connection`.
    pub(super) fn watch(connection: &Connection) -> rusqlite::Result<Self> {
        let invalidation = Self::default();
        let rows = invalidation.clone();
        connection.create_scalar_function("touched", 1, FunctionFlags::SQLITE_UTF8, move |values| {
            rows.lock().insert(values.get(0)?);
            Ok(None::<i64>)
        })?;
        connection.execute_batch(TRIGGERS)?;
        Ok(invalidation)
    }

    /// Advances the generations of all recorded repositories.
    pub(super) fn apply(&self, connection: &Connection, generations: &CacheGenerations) {
        for row in take(&mut *self.lock()) {
            match row.map(|id| repository_name(connection, id)) {
                Some(Ok(Some(name))) => generations.advance(&name),
                // All repositories, or one that is gone or whose name can't be read.
                None | Some(_) => generations.advance_all(),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn repository_name(connection: &dyn sql::Connection, id: i64) -> sql::Result<Option<RepoName>> {
    let mut query = connection.prepare_cached("SELECT name FROM repositories WHERE id = ?1")?;
    query.query_row([id], |row| row.get(0)).optional()
}
