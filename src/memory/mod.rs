//! The memory that requests may make the process hold.
//!
//! [`MemoryBudget`] counts it; everything that a client can make large takes a [`Reservation`] first. A request
//! waits for room, and fails with [`OutOfMemory`] when there is none in time. Reservations are coarse: one a request,
//! or one a step of tens of kilobytes, never one a chunk.
//!
//! Three rules keep clients apart:
//! - anonymous clients together hold at most a quarter;
//! - reservations of at most [`SMALL`] bytes have a part that larger ones cannot take;
//! - larger ones wait in order, and while one waits small ones keep to their own part.

mod budget;
mod detect;
mod ledger;
mod metrics;
#[cfg(test)]
mod tests;

pub use budget::{MAX_WAIT, MemoryBudget, OutOfMemory, ReadGate, Reservation};
pub use detect::default_budget;
pub use ledger::SMALL;

/// Who a reservation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A client that has not authenticated.
    Anonymous,
    /// An authenticated client, any client of an open registry, or the server itself.
    Authenticated,
}

/// What a reservation is for; a label of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Connections, with their protocol state.
    Connections,
    /// Heads of requests, with the tasks that answer them.
    Heads,
    /// Bytes of bodies that may be under way on connections of HTTP/2.
    Windows,
    /// Bodies that are read into memory.
    Bodies,
    /// Parsed bodies: manifests, forms, JSON.
    Forms,
    /// Responses that wait for their client to read.
    SendBuffers,
    /// Pages of lists.
    Pages,
    /// Reports.
    Reports,
    /// Snapshots that retention evaluates.
    Snapshots,
    /// Changes that wait for the database's writer.
    Writes,
    /// Password hashing.
    Passwords,
    /// TLS handshakes.
    Handshakes,
}

impl Purpose {
    /// All of them, in the order of their discriminants.
    const ALL: [Self; 12] = [
        Self::Connections,
        Self::Heads,
        Self::Windows,
        Self::Bodies,
        Self::Forms,
        Self::SendBuffers,
        Self::Pages,
        Self::Reports,
        Self::Snapshots,
        Self::Writes,
        Self::Passwords,
        Self::Handshakes,
    ];

    /// Its label.
    const fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Heads => "heads",
            Self::Windows => "windows",
            Self::Bodies => "bodies",
            Self::Forms => "forms",
            Self::SendBuffers => "send_buffers",
            Self::Pages => "pages",
            Self::Reports => "reports",
            Self::Snapshots => "snapshots",
            Self::Writes => "writes",
            Self::Passwords => "passwords",
            Self::Handshakes => "handshakes",
        }
    }
}
