//! Records of the metadata store: plain values that rules, queries and their callers share.

mod accounting;
mod accounts;
mod adoption;
mod audit;
mod change;
mod collection;
mod events;
mod history;
mod listings;
mod names;
mod pages;
mod quotas;
mod records;
mod retention;
mod roles;
mod scope;
mod visible;
mod why;

pub use accounting::*;
pub use accounts::*;
pub use adoption::*;
pub use audit::*;
pub use change::{Change, DEFAULT_REPOSITORY_HISTORY_ROWS, DEFAULT_TAG_HISTORY_ROWS, ImmutableTags};
pub use collection::{Batch, CollectionRules, Garbage};
pub use events::{Event, EventDetails, EventKind, EventPage, MAX_EVENTS_EXAMINED, UnknownKind};
pub use history::*;
pub use listings::*;
pub use pages::{MAX_PAGE_BYTES, Page, Weigh};
pub use quotas::*;
pub use records::*;
pub use retention::*;
pub use roles::{Grantee, InvalidUserName, Role, Team, UnknownRole, check_name};
pub use scope::Scope;
pub use visible::{NameFilter, NameRange, Visible};
pub use why::*;

use std::time::Duration;

use crate::clock::Timestamp;

/// Returns the time at or before which a lease must have been given to be worth renewing. Renewing a younger
/// lease is not worth a write, so a lease protects its target for at least seven eighths of the configured
/// duration.
pub fn lease_renewal_cutoff(now: Timestamp, lease: Duration) -> Timestamp {
    now.minus(lease / 8)
}
