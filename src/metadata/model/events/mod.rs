//! Events: what happened to the store, for an operator to read later.
//!
//! An event that a change causes is recorded in the transaction and by the method that makes the change.
//! Monitored conditions (the budget, the disk, the clock) have states; every change of state is recorded.

mod details;
mod kind;

pub use details::EventDetails;
pub use kind::{EventKind, UnknownKind};

use super::Weigh;
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
