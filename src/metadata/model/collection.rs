//! Settings and results of the garbage collector's steps.

use std::time::Duration;

use crate::clock::Timestamp;

/// When something may be collected. The times are compared when a step runs, so that a changed setting takes
/// effect at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectionRules {
    /// The current time.
    pub now: Timestamp,
    /// How long a lease keeps a blob or manifest for a manifest that may follow.
    pub lease: Duration,
    /// How long a removed manifest can be restored.
    pub trash: Duration,
    /// How long an unreferenced manifest is kept. `None` keeps it forever.
    pub untagged: Option<Duration>,
    /// Since when every lease has been recorded, including leases on targets that a manifest references
    /// ([`super::Renewal::held`]). A target that a purge releases was last needed when its own lease says, or
    /// before this time; without it, when the referencing manifest was removed.
    pub leases_recorded_since: Option<Timestamp>,
}

impl CollectionRules {
    /// A lease given at or before this time has ended, unless an upload extends it.
    pub fn lease_cutoff(&self) -> Timestamp {
        self.now.minus(self.lease)
    }

    /// Returns when a target may last have been needed whose only recorded use is a referencing manifest that
    /// was removed at `removed_at`.
    pub fn last_recorded_lease(&self, removed_at: Timestamp) -> Timestamp {
        self.leases_recorded_since.map_or(removed_at, |since| since.min(removed_at))
    }

    /// A manifest removed at or before this time is purged.
    pub fn trash_cutoff(&self) -> Timestamp {
        self.now.minus(self.trash)
    }

    /// A manifest that lost its last reference and was last pulled at or before this time moves to the trash.
    /// It is never earlier than the end of a lease given at that time.
    pub fn untagged_cutoff(&self) -> Option<Timestamp> {
        self.untagged.map(|untagged| self.now.minus(untagged.max(self.lease)))
    }
}

/// The result of one step of the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Batch {
    /// How many objects it removed: manifests moved or deleted, links deleted.
    pub changed: u64,
    /// Whether it stopped at its limit, so that more may be waiting.
    pub more: bool,
}

/// What a collection would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Garbage {
    /// Manifests that would move to the trash.
    pub manifests_expired: u64,
    /// Manifests that would be purged.
    pub manifests_purged: u64,
    /// Links that would be deleted.
    pub links: u64,
    /// Blobs whose content would be deleted.
    pub blobs: u64,
    /// Bytes that would be freed.
    pub bytes: u64,
}
