//! Limits the memory that requests can make the process hold.
//!
//! [`MemoryBudget`] counts it. Everything whose size a client controls takes a [`Reservation`] first. A request waits
//! for memory, and fails with [`OutOfMemory`] if none becomes free in time. Reservations are coarse: one per request,
//! or one per step of tens of kilobytes, never one per chunk.
//!
//! Three rules keep clients apart:
//! - anonymous clients together hold at most a quarter of the budget;
//! - a part of the budget is kept for reservations of at most [`SMALL`] bytes;
//! - larger reservations wait in order, and while one is waiting small ones stay within their own part.

mod budget;
mod detect;
mod ledger;
mod metrics;
#[cfg(test)]
mod tests;

pub use budget::{MAX_WAIT, MemoryBudget, OutOfMemory, ReadGate, Reservation};
pub use detect::default_budget;
pub use ledger::SMALL;
use strum::{IntoStaticStr, VariantArray};

/// The kind of client that holds a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A client that has not authenticated.
    Anonymous,
    /// An authenticated client, any client of an open registry, or the server itself.
    Authenticated,
}

/// The purpose of a reservation; a label of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Purpose {
    /// Connections and their protocol state.
    Connections,
    /// Request heads, and the tasks that handle them.
    Heads,
    /// Body bytes that may be in flight on HTTP/2 connections.
    Windows,
    /// Bodies read into memory.
    Bodies,
    /// Parsed bodies (manifests, forms, JSON) and compiled policies.
    #[strum(serialize = "forms")]
    ParsedBodies,
    /// Responses waiting for their client to read.
    SendBuffers,
    /// Pages of lists.
    Pages,
    /// Reports.
    Reports,
    /// Snapshots evaluated by retention policies.
    Snapshots,
    /// Changes waiting for the database writer.
    Writes,
    /// Password hashing.
    Passwords,
    /// TLS handshakes.
    Handshakes,
}
