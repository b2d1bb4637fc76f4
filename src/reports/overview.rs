//! The overview for a start page: what fills the disk, how full it is, and how it grew.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::metadata::{ExclusiveSpace, ReclaimableSummary, SpaceDivision, Totals, UsageDay};
use crate::registry::{BudgetLevel, BudgetState, SpaceState, Stored};
use crate::store::Space;

/// The maximum number of repositories that an overview names.
pub const MAX_NAMED_REPOSITORIES: usize = 60;

/// An overview of this age is used even if something has changed.
pub(super) const MIN_AGE: Duration = Duration::from_secs(5);

/// An overview of this age is not used any more. A change by another process is seen after this time at the latest.
pub(super) const MAX_AGE: Duration = Duration::from_secs(30);

/// On a large store that changes all the time, the overview is used for this multiple of the time that making it took.
const COST_FACTOR: u32 = 20;

/// What fills the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The repositories with the most exclusive space, largest first: up to [`MAX_NAMED_REPOSITORIES`]. In an overview
    /// of the whole registry without what can be reclaimed.
    pub repositories: Vec<ExclusiveSpace>,
    /// Whether there are other repositories. [`StoreOverview::other_repositories`] has their sum.
    pub others: bool,
    /// The registry as a whole; `None` for a client that may not read everything.
    pub store: Option<StoreOverview>,
}

/// The registry as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOverview {
    /// When the overview was made.
    pub made_at: Timestamp,
    /// What is recorded.
    pub totals: Totals,
    /// The number of repositories.
    pub repositories: u64,
    /// The number of repositories that are not named.
    pub other_repositories: u64,
    /// The areas besides the exclusive space of the named repositories.
    pub areas: Areas,
    /// The disk usage. All areas and the exclusive space of the named repositories add up to [`Stored::total`].
    pub stored: Stored,
    /// What can be reclaimed, and when. Unlike the areas, its parts may overlap.
    pub reclaimable: ReclaimableSummary,
    /// The disk that holds the blobs.
    pub disk: Space,
    /// The state of that disk.
    pub disk_state: SpaceState,
    /// The state of the budget, if one is set.
    pub budget: Option<(BudgetState, BudgetLevel)>,
    /// The totals at the end of each of the last days, oldest first.
    pub days: Vec<UsageDay>,
}

/// Areas of the disk usage that do not overlap. All sizes are in bytes allocated on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Areas {
    /// The exclusive space of the repositories that are not named.
    pub other_repositories: u64,
    /// Blobs that several repositories link.
    pub shared: u64,
    /// Blobs that only manifests in the trash keep.
    pub trash: u64,
    /// Blobs that only untagged manifests keep.
    pub untagged: u64,
    /// Blobs that no manifest references; a lease keeps them for a manifest that may follow.
    pub leased: u64,
    /// Blobs pending deletion.
    pub pending_deletion: u64,
    /// Bytes that open uploads have received.
    pub uploads: u64,
    /// The directories the blobs lie in.
    pub directories: u64,
    /// The database and its log.
    pub database: u64,
}

impl Areas {
    /// Returns the areas of a disk usage that was measured together with `division`.
    pub(super) fn new(division: &SpaceDivision, stored: &Stored) -> Self {
        Self {
            other_repositories: division.other_bytes,
            shared: division.shared,
            trash: division.trash,
            untagged: division.untagged,
            leased: division.leased,
            pending_deletion: stored.pending_deletion,
            uploads: stored.staged,
            directories: stored.directories,
            database: stored.database,
        }
    }

    /// Returns the sum of all areas.
    pub fn total(&self) -> u64 {
        let Self {
            other_repositories,
            shared,
            trash,
            untagged,
            leased,
            pending_deletion,
            uploads,
            directories,
            database,
        } = self;
        other_repositories
            + shared
            + trash
            + untagged
            + leased
            + pending_deletion
            + uploads
            + directories
            + database
    }
}

impl Overview {
    /// Returns the sum of all areas and of the named repositories: the disk usage of the registry.
    pub fn total(&self) -> u64 {
        let named: u64 = self.repositories.iter().map(|repository| repository.bytes).sum();
        named + self.store.as_ref().map_or(0, |store| store.areas.total())
    }
}

/// The last overview of the whole registry.
#[derive(Default)]
pub(super) struct OverviewCache(pub(super) tokio::sync::Mutex<Option<CachedOverview>>);

pub(super) struct CachedOverview {
    pub(super) overview: Arc<Overview>,
    /// When it was made, in the time of [`crate::clock::Clock::elapsed`].
    pub(super) made: Duration,
    /// How long it took.
    pub(super) cost: Duration,
    /// The number of changes before it was made.
    pub(super) changes: u64,
}

impl CachedOverview {
    /// Whether it may be used at the time `now`, after this number of changes.
    pub(super) fn is_current(&self, now: Duration, changes: u64) -> bool {
        let age = now.saturating_sub(self.made);
        let min_age = MIN_AGE.max(self.cost.saturating_mul(COST_FACTOR)).min(MAX_AGE);
        age < min_age || (age < MAX_AGE && self.changes == changes)
    }
}
