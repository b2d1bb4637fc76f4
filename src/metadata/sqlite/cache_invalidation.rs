//! Whose answers a transaction made untrue. SQLite itself tells it, by triggers of the writer's connection: no
//! change can forget to, and what collection does to one repository leaves the others' answers remembered.

use std::collections::BTreeSet;
use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OptionalExtension};

use super::name_from;
use super::query_cache::CacheGenerations;
use crate::oci::RepoName;

/// All that answers are read from and that can make one untrue. Only what was found is remembered, so new rows
/// matter to nobody; and while a link refers to a blob, or anything to a repository, neither can go.
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

/// The repositories that were touched since it was last asked.
#[derive(Clone, Default)]
pub(super) struct CacheInvalidation(Arc<Mutex<Rows>>);

/// By their ids; `None` stands for every repository.
type Rows = BTreeSet<Option<i64>>;

impl CacheInvalidation {
    /// Watches what is changed through `connection`.
    pub(super) fn watch(connection: &Connection) -> rusqlite::Result<Self> {
        let touched = Self::default();
        let rows = touched.clone();
        connection.create_scalar_function("touched", 1, FunctionFlags::SQLITE_UTF8, move |values| {
            rows.lock().insert(values.get(0)?);
            Ok(None::<i64>)
        })?;
        connection.execute_batch(TRIGGERS)?;
        Ok(touched)
    }

    /// Ends the epochs of all that was touched.
    pub(super) fn end(&self, connection: &Connection, epochs: &CacheGenerations) {
        for row in take(&mut *self.lock()) {
            match row.map(|id| name(connection, id)) {
                Some(Ok(Some(name))) => epochs.end(&name),
                // Every one; or one that is gone, or whose name cannot be read.
                None | Some(_) => epochs.end_all(),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(connection: &Connection, id: i64) -> rusqlite::Result<Option<RepoName>> {
    let mut query = connection.prepare_cached("SELECT name FROM repositories WHERE id = ?1")?;
    query.query_row([id], |row| name_from(row.get_ref(0)?.as_str()?, 0)).optional()
}
