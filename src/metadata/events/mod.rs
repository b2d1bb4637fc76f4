//! Events: what happened to the store, for an operator to read later.
//!
//! An event that a change causes is recorded in the transaction and by the method that makes the change.
//! Monitored conditions (the budget, the disk, the clock) have states; every change of state is recorded.

mod details;
mod kind;

use async_trait::async_trait;

pub use details::EventDetails;
pub use kind::{EventKind, UnknownKind};

use super::{Batch, Page, Result, Weigh};
use crate::clock::Timestamp;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its position: later events have larger ids.
    pub id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub details: EventDetails,
}

impl Weigh for Event {
    fn weight(&self) -> usize {
        256 + self.details.weight()
    }
}

/// Stores the events.
#[async_trait]
pub trait Events: Send + Sync {
    /// Records, lazily, the state that a monitored condition has had since `at`, unless it is the last recorded
    /// state. If nothing is recorded yet, the best state is not recorded. Returns whether an event was
    /// recorded.
    async fn record_state(&self, at: Timestamp, state: EventDetails) -> Result<bool>;

    /// Returns a page of the events before the position `before`, newest first, filtered by kind if one is
    /// given.
    async fn events(&self, kind: Option<EventKind>, before: Option<i64>, limit: usize)
    -> Result<Page<Event>>;

    /// Deletes, lazily, up to about `limit` events: those from `cutoff` or before and, for each kind, all but
    /// the newest `max`. The newest event of all stays, so that its position is not assigned again.
    async fn forget_events(&self, cutoff: Option<Timestamp>, max: usize, limit: usize) -> Result<Batch>;
}
