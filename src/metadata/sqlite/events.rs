//! Records events of the store and lists them.

use async_trait::async_trait;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use super::superfluous::RowLimits;
use super::{Durability, SqliteMetadata, limit_plus_one};
use crate::clock::Timestamp;
use crate::metadata::{Batch, Event, EventDetails, EventKind, Events, Page, Result};

/// Limits events by age, and by number for each kind.
const LIMITS: RowLimits = RowLimits {
    old: "SELECT id FROM events WHERE at <= ?1 AND id < (SELECT max(id) FROM events) ORDER BY at LIMIT ?2",
    first_too_many: "SELECT id FROM events WHERE kind = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2",
    too_many: "SELECT id FROM events WHERE kind = ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
    delete: "DELETE FROM events WHERE id = ?1",
    kinds: || EventKind::all().map(|kind| kind.name().to_owned()).collect(),
};

#[async_trait]
impl Events for SqliteMetadata {
    async fn record_state(&self, at: Timestamp, state: EventDetails) -> Result<bool> {
        let kind = state.kind();
        if !self.read(|c| is_new_state(c, kind))? {
            return Ok(false);
        }
        self.write(Durability::Lazy, move |c| {
            let is_new = is_new_state(c, kind)?;
            if is_new {
                record(c, at, &state)?;
            }
            Ok(is_new)
        })
        .await
    }

    async fn events(
        &self,
        kind: Option<EventKind>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<Event>> {
        let before = before.unwrap_or(i64::MAX);
        let rows = limit_plus_one(limit);
        self.read(|c| match kind {
            None => {
                let mut query = c.prepare_cached(
                    "SELECT id, at, kind, facts FROM events WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
                )?;
                Page::read(query.query_map(params![before, rows], read_event)?, limit)
            }
            Some(kind) => {
                let mut query = c.prepare_cached(
                    "SELECT id, at, kind, facts FROM events WHERE kind = ?1 AND id < ?2
                     ORDER BY id DESC LIMIT ?3",
                )?;
                Page::read(query.query_map(params![kind.name(), before, rows], read_event)?, limit)
            }
        })
    }

    async fn forget_events(&self, cutoff: Option<Timestamp>, most: usize, limit: usize) -> Result<Batch> {
        self.delete_superfluous(&LIMITS, cutoff, most, limit).await
    }
}

/// Records an event in the transaction of the change that it describes.
pub(super) fn record(c: &Connection, at: Timestamp, details: &EventDetails) -> rusqlite::Result<()> {
    let json = serde_json::to_value(details);
    let json = json.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    c.prepare_cached("INSERT INTO events (at, kind, facts) VALUES (?1, ?2, ?3)")?
        .execute(params![at, details.kind().name(), json["facts"].to_string()])
        .map(drop)
}

/// Whether a state differs from the last recorded state of the same thing.
fn is_new_state(c: &Connection, state: EventKind) -> rusqlite::Result<bool> {
    let mut query = c.prepare_cached("SELECT max(id) FROM events WHERE kind = ?1")?;
    let mut last: Option<(i64, EventKind)> = None;
    for kind in state.states() {
        let id: Option<i64> = query.query_row([kind.name()], |row| row.get(0))?;
        last = last.max(id.map(|id| (id, *kind)));
    }
    Ok(match last {
        Some((_, last)) => last != state,
        None => state.states().first().is_some_and(|best| *best != state),
    })
}

fn read_event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let kind: String = row.get(2)?;
    let facts: String = row.get(3)?;
    let details = serde_json::from_str::<Value>(&facts)
        .and_then(|facts| serde_json::from_value(json!({ "kind": kind, "facts": facts })));
    let details =
        details.map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, Type::Text, Box::new(error)))?;
    Ok(Event { id: row.get(0)?, at: row.get(1)?, details })
}
