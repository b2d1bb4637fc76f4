//! Times that move when the clock is put right.

use rusqlite::{Connection, params};

use crate::clock::millis;
use crate::metadata::ClockJump;

/// Every time by which something expires, or is older than something else.
const TIMES: [(&str, &str); 16] = [
    // First: triggers raise them to those of manifests and tags.
    ("repositories", "pushed_at"),
    ("repositories", "pulled_at"),
    ("links", "leased_at"),
    ("links", "hidden_at"),
    ("manifests", "pushed_at"),
    ("manifests", "leased_at"),
    ("manifests", "pulled_at"),
    ("manifests", "alone_at"),
    ("manifests", "removed_at"),
    ("tags", "updated_at"),
    ("tag_history", "at"),
    ("events", "at"),
    ("uploads", "began_at"),
    ("uploads", "touched_at"),
    ("past_uploads", "ended_at"),
    ("review", "since"),
];

/// Moves all times within the jump's span by as much as it was.
pub(super) fn follow(c: &Connection, jump: ClockJump) -> rusqlite::Result<()> {
    let (from, until, by) = (jump.from.0, jump.until.0, millis(jump.by));
    for (table, column) in TIMES {
        let sql = format!("UPDATE {table} SET {column} = {column} + ?3 WHERE {column} BETWEEN ?1 AND ?2");
        c.execute(&sql, params![from, until, by])?;
    }
    // It is part of the key: where another already has the later one, that ended later too, and serves for both.
    c.execute(
        "UPDATE OR IGNORE past_uploads SET began_at = began_at + ?3 WHERE began_at BETWEEN ?1 AND ?2",
        params![from, until, by],
    )?;
    Ok(())
}
