//! Events: what happened to the store while nobody was looking.
//!
//! What a change brings about is recorded in the transaction that makes it true, by the method that makes the
//! change. What is watched (the budget, the disk, the clock) has states, of which each new one is recorded.

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
    /// Its place: later ones have larger ones.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub details: EventDetails,
}

impl Weigh for Event {
    fn weight(&self) -> usize {
        256 + self.details.weight()
    }
}

/// The events of the store.
#[async_trait]
pub trait Events: Send + Sync {
    /// Records, lazily, the state that something watched has had since `at`, unless that was the last one
    /// recorded of it. Of what nothing was recorded the best state is no news. Whether it was.
    async fn note_state(&self, at: Timestamp, state: EventDetails) -> Result<bool>;

    /// A page of the events before the place `before`, newest first; only those of a kind if one is given.
    async fn events(&self, kind: Option<EventKind>, before: Option<i64>, limit: usize)
    -> Result<Page<Event>>;

    /// Forgets, lazily, up to about `limit` events: those of `cutoff` and before, and of each kind all but the
    /// newest `most`. The newest of all stays, so that its place is not given out again.
    async fn forget_events(&self, cutoff: Option<Timestamp>, most: usize, limit: usize) -> Result<Batch>;
}
