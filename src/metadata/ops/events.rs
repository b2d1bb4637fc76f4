//! Records events of the store and lists them.

use crate::clock::Timestamp;
use crate::metadata::ops::log_limits::RowLimits;
use crate::metadata::sql::{Connection, Row, limit_plus_one, params};
use crate::metadata::{
    Batch, Durability, Event, EventDetails, EventKind, EventPage, MAX_EVENTS_EXAMINED, Metadata, Operation,
    Page, Result, Visible, sql,
};
use serde_json::{Value, json};

/// Limits events by age, and by number for each kind.
const LIMITS: RowLimits = RowLimits {
    old: "SELECT id FROM events WHERE at <= ?1 AND id < (SELECT max(id) FROM events) ORDER BY at LIMIT ?2",
    first_too_many: "SELECT id FROM events WHERE kind = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2",
    too_many: "SELECT id FROM events WHERE kind = ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
    delete: "DELETE FROM events WHERE id = ?1",
    kinds: || EventKind::all().map(|kind| kind.name().to_owned()).collect(),
};

impl Metadata {
    /// Records, lazily, the state that a monitored condition has had since `at`, unless it is the last recorded
    /// state. If nothing is recorded yet, the best state is not recorded. Returns whether an event was
    /// recorded.
    pub async fn record_state(&self, at: Timestamp, state: EventDetails) -> Result<bool> {
        self.perform(Operation::RecordState, async {
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
        })
        .await
    }

    /// Returns a page of the events before the position `before`, newest first, filtered by kind if one is
    /// given.
    pub async fn events(
        &self,
        kind: Option<EventKind>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<Event>> {
        let before = before.unwrap_or(i64::MAX);
        let rows = limit_plus_one(limit);
        self.query(Operation::Events, |c| match kind {
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
        .await
    }

    /// Returns a page of the events before the position `before` that are about `visible` repositories and nothing
    /// else, newest first. Reads at most [`MAX_EVENTS_EXAMINED`] events.
    pub async fn visible_events(
        &self,
        visible: &Visible,
        before: Option<i64>,
        limit: usize,
    ) -> Result<EventPage> {
        let visible = visible.clone();
        self.query_page(Operation::VisibleEvents, move |c| visible_events(c, &visible, before, limit)).await
    }

    /// Deletes, lazily, up to about `limit` events: those from `cutoff` or before and, for each kind, all but
    /// the newest `max`. The newest event of all stays, so that its position is not assigned again.
    pub async fn forget_events(&self, cutoff: Option<Timestamp>, most: usize, limit: usize) -> Result<Batch> {
        self.perform(Operation::ForgetEvents, self.delete_superfluous(&LIMITS, cutoff, most, limit)).await
    }
}

/// Records an event in the transaction of the change that it describes.
pub(in crate::metadata) fn record(
    c: &dyn Connection,
    at: Timestamp,
    details: &EventDetails,
) -> sql::Result<()> {
    let json = serde_json::to_value(details);
    let json = json.map_err(|error| sql::Error::InvalidValue(Box::new(error)))?;
    c.prepare_cached("INSERT INTO events (at, kind, facts) VALUES (?1, ?2, ?3)")?
        .execute(params![at, details.kind().name(), json["facts"].to_string()])
        .map(drop)
}

/// Whether a state differs from the last recorded state of the same thing.
fn is_new_state(c: &dyn Connection, state: EventKind) -> sql::Result<bool> {
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

fn visible_events(
    c: &dyn Connection,
    visible: &Visible,
    before: Option<i64>,
    limit: usize,
) -> sql::Result<EventPage> {
    let mut items = Vec::new();
    let mut last = None;
    let mut query =
        c.prepare_cached("SELECT id, at, kind, facts FROM events WHERE id < ?1 ORDER BY id DESC LIMIT ?2")?;
    let values = params![before.unwrap_or(i64::MAX), limit_plus_one(MAX_EVENTS_EXAMINED)];
    for (examined, event) in query.query_map(values, read_event)?.enumerate() {
        let event = event?;
        if items.len() == limit || examined == MAX_EVENTS_EXAMINED {
            return Ok(EventPage { items, next: last });
        }
        last = Some(event.id);
        let repositories = event.details.repositories();
        if !repositories.is_empty() && repositories.into_iter().all(|repo| visible.shows(repo)) {
            items.push(event);
        }
    }
    Ok(EventPage { items, next: None })
}

fn read_event(row: Row<'_>) -> sql::Result<Event> {
    let kind: String = row.get(2)?;
    let facts: String = row.get(3)?;
    let details = serde_json::from_str::<Value>(&facts)
        .and_then(|facts| serde_json::from_value(json!({ "kind": kind, "facts": facts })));
    let details =
        details.map_err(|error| sql::Error::InvalidColumn { column: 3, source: Box::new(error) })?;
    Ok(Event { id: row.get(0)?, at: row.get(1)?, details })
}
