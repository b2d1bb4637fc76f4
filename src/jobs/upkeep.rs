//! The small regular chores: looking at the clock, recording the progress of uploads at rest, the pulls and how the totals grow,
//! forgetting what is long gone, tidying the metadata, measuring blobs that an older version stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use async_trait::async_trait;

use super::Job;
use crate::registry::{Registry, ServiceError};

/// How often the rarer chores are done, in ticks.
const RARELY: u32 = 60;

/// The chores. Meant to be run every second.
pub struct Upkeep {
    registry: Arc<Registry>,
    ticks: AtomicU32,
    /// Where the look at the repositories stands.
    swept: AtomicI64,
    /// Every blob is measured: those to come are when they are stored.
    measured: AtomicBool,
}

impl Upkeep {
    /// The chores of `registry`.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            ticks: AtomicU32::new(0),
            swept: AtomicI64::new(0),
            measured: AtomicBool::new(false),
        }
    }
}

#[async_trait]
impl Job for Upkeep {
    fn name(&self) -> &'static str {
        "upkeep"
    }

    async fn tick(&self) -> Result<bool, ServiceError> {
        self.registry.settle_uploads(false).await;
        // Often, so that a jump is noticed soon after it.
        self.registry.watch_clock().await?;
        if self.ticks.fetch_add(1, Ordering::Relaxed).is_multiple_of(RARELY) {
            self.registry.flush_pulls().await?;
            self.registry.forget_history().await?;
            self.registry.forget_events().await?;
            let swept = self.registry.forget_repositories(self.swept.load(Ordering::Relaxed)).await?;
            self.swept.store(swept, Ordering::Relaxed);
            self.registry.metadata().tidy().await?;
            self.registry.metadata().note_day(self.registry.clock().now()).await?;
        }
        if self.measured.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let more = self.registry.measure_blobs().await?;
        self.measured.store(!more, Ordering::Relaxed);
        Ok(more)
    }
}
