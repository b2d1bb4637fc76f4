//! What the collector's steps take and tell.

use std::time::Duration;

use crate::clock::Timestamp;

/// When something may be collected. The times are compared when a step looks, so that a changed setting
/// takes effect at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectionRules {
    /// Now.
    pub now: Timestamp,
    /// How long a target that was wanted is kept for the manifest that may follow.
    pub lease: Duration,
    /// How long a removed manifest can be brought back.
    pub trash: Duration,
    /// How long a manifest that nothing holds is kept; `None` for ever.
    pub untagged: Option<Duration>,
    /// Since when every lease has been written down, also of what was held ([`super::Renewal::held`]). What a
    /// purge lets go was then wanted when its own lease says, or before this; else until its holder's removal.
    pub leases_recorded_since: Option<Timestamp>,
}

impl CollectionRules {
    /// A lease that was given at this time or before has ended, if no upload extends it.
    pub fn lease_cutoff(&self) -> Timestamp {
        self.now.minus(self.lease)
    }

    /// When something may have been wanted last that nothing but its holder was written down of, which was
    /// removed at that time.
    pub fn last_recorded_lease(&self, removed_at: Timestamp) -> Timestamp {
        self.leases_recorded_since.map_or(removed_at, |since| since.min(removed_at))
    }

    /// What was removed at this time or before is purged.
    pub fn trash_cutoff(&self) -> Timestamp {
        self.now.minus(self.trash)
    }

    /// What lost its last holder or was last pulled at this time or before goes to the trash; never before
    /// a lease given then would have ended.
    pub fn untagged_cutoff(&self) -> Option<Timestamp> {
        self.untagged.map(|untagged| self.now.minus(untagged.max(self.lease)))
    }
}

/// What a step of the collector did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Batch {
    /// How many things it took out of the way: manifests moved or deleted, links deleted.
    pub changed: u64,
    /// Whether it stopped at its limit, so that more may be waiting.
    pub more: bool,
}

/// What a collection would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Garbage {
    /// Manifests that would go to the trash.
    pub manifests_expired: u64,
    /// Manifests that would be purged.
    pub manifests_purged: u64,
    /// Links that would be deleted.
    pub links: u64,
    /// Blobs whose bytes would be removed.
    pub blobs: u64,
    /// How many bytes that would free.
    pub bytes: u64,
}
