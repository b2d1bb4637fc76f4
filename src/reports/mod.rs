//! Reports: what is stored, what keeps it, and what can be restored. They are plain values: the API maps them to JSON,
//! which the command line reads, and a page can show the same figures without it.
//!
//! The caller decides whether the client may read a report.

mod listings;
mod make_overview;
mod overview;
mod recent;
mod sharing;
mod trash;
mod usage;
mod why;

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

pub use listings::{ListedTag, ManifestDetail};
pub use overview::{Areas, MAX_NAMED_REPOSITORIES, Overview, StoreOverview};
pub use sharing::{AttestationReport, ContentReport, LayerReport, MemberReport, ReferrerReport, StepReport};
pub use trash::{TrashEntry, TrashEntryKind, TrashItem, TrashListingPage, TrashListingPosition};
pub use usage::{StoreUsage, UsageReport};
pub use why::{KeptManifest, Why};

use crate::jobs::{Collector, Retention};
use crate::registry::Registry;

/// Everything that reports read from.
pub struct Reports {
    registry: Arc<Registry>,
    collector: Arc<Collector>,
    retention: Arc<Retention>,
    turn: Semaphore,
    overview: overview::OverviewCache,
}

impl Reports {
    /// Creates the reports on `registry`. The rules of `collector` and the policies of `retention` decide what may be
    /// removed, and when.
    pub fn new(registry: Arc<Registry>, collector: Arc<Collector>, retention: Arc<Retention>) -> Self {
        Self {
            registry,
            collector,
            retention,
            turn: Semaphore::new(1),
            overview: overview::OverviewCache::default(),
        }
    }

    /// Waits until no other report is being made that reads many records.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turn.acquire().await.ok()
    }
}
