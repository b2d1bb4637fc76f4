//! The table of keys and values, in which the store records single facts about itself.

use crate::metadata::sql::{self, Connection, OptionalExtension};

/// Key of the id of the last run.
pub(in crate::metadata) const RUN_KEY: &str = "run";

/// Key of the record of the adoption.
pub(in crate::metadata) const ADOPTION_KEY: &str = "adoption";

/// Reads the value of a key.
pub(in crate::metadata) fn read_value(c: &dyn Connection, key: &str) -> sql::Result<Option<String>> {
    c.prepare_cached("SELECT value FROM facts WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()
}

/// Writes the value of a key.
pub(in crate::metadata) fn write_value(c: &dyn Connection, key: &str, value: &str) -> sql::Result<()> {
    c.prepare_cached(
        "INSERT INTO facts (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute([key, value])
    .map(drop)
}
