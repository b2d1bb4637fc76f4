//! The recorded time, and the shift of all stored times after the clock was corrected.

use crate::clock::{Timestamp, millis};
use crate::metadata::facts::{read_value, write_value};
use crate::metadata::ops::uploads::extend_leases;
use crate::metadata::sql::{self, Connection, params};
use crate::metadata::{ClockJump, Durability, Metadata, Operation, Result};

/// Columns with times that decide when something expires, or that are compared with each other.
const TIME_COLUMNS: [(&str, &str); 16] = [
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

impl Metadata {
    /// Returns the latest time recorded by [`Metadata::record_time`].
    pub async fn recorded_time(&self) -> Result<Option<Timestamp>> {
        self.perform(Operation::RecordedTime, async {
            let text = self.read(|c| read_value(c, "time"))?;
            Ok(text.and_then(|text| text.parse().ok()).map(Timestamp))
        })
        .await
    }

    /// Records the current time, lazily.
    pub async fn record_time(&self, now: Timestamp) -> Result<()> {
        self.change(Operation::RecordTime, Durability::Lazy, move |c| {
            write_value(c, "time", &now.0.to_string())
        })
        .await
    }

    /// Moves recorded times that are used for expiry after the clock was corrected: all that lie within the
    /// span of the jump.
    pub async fn apply_clock_jump(&self, jump: ClockJump) -> Result<()> {
        self.change(Operation::ApplyClockJump, Durability::Full, move |c| shift_times(c, jump)).await
    }
}

/// Shifts all times within the span of the jump by its length.
fn shift_times(c: &dyn Connection, jump: ClockJump) -> sql::Result<()> {
    let from = jump.from.0;
    let until = jump.until.0;
    let by = millis(jump.by);
    for (table, column) in TIME_COLUMNS {
        let sql = format!("UPDATE {table} SET {column} = {column} + ?3 WHERE {column} BETWEEN ?1 AND ?2");
        c.execute(&sql, params![from, until, by])?;
    }
    // A repository's own times may lie outside the span, but they must not be before those of its content.
    c.execute(
        "UPDATE repositories SET pushed_at = t.at
         FROM (SELECT repo, max(updated_at) AS at FROM tags GROUP BY repo) t
         WHERE t.repo = repositories.id AND t.at > pushed_at",
        [],
    )?;
    c.execute(
        "UPDATE repositories SET pulled_at = m.at
         FROM (SELECT repo, max(pulled_at) AS at FROM manifests GROUP BY repo) m
         WHERE m.repo = repositories.id AND m.at > repositories.pulled_at",
        [],
    )?;
    shift_past_uploads(c, from, until, by)
}

/// Shifts the start of past uploads. It is part of their key: if another row has the shifted start, the two are merged.
fn shift_past_uploads(c: &dyn Connection, from: i64, until: i64, by: i64) -> sql::Result<()> {
    let shifted = c
        .prepare_cached(
            "DELETE FROM past_uploads WHERE began_at BETWEEN ?1 AND ?2 RETURNING repo, began_at + ?3, ended_at",
        )?
        .query_map([from, until, by], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<sql::Result<Vec<_>>>()?;
    shifted.into_iter().try_for_each(|(repo, began_at, ended_at)| extend_leases(c, repo, began_at, ended_at))
}
