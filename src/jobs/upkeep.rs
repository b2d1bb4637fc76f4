//! Regular housekeeping: checks the clock, records pulls and the progress of idle uploads, records the daily totals,
//! removes old history and events, tidies the database, measures blobs and fills in version keys of tags that an older
//! version stored. A job of its own writes the audit log and removes its old entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use async_trait::async_trait;

use super::Job;
use crate::registry::{Registry, ServiceError};

/// The rarer chores are done once in this many ticks.
const RARE_CHORES_TICKS: u32 = 60;

/// The number of tags whose version keys are filled in at once.
const VERSION_KEYS_BATCH: usize = 500;

/// The housekeeping job. Run it every second.
pub struct Upkeep {
    registry: Arc<Registry>,
    ticks: AtomicU32,
    /// Where the sweep over the repositories continues.
    swept: AtomicI64,
    /// Whether every blob is measured. New blobs are measured when they are stored.
    measured: AtomicBool,
    /// Whether every tag has a version key. New tags get it when they are pushed.
    versions_filled: AtomicBool,
}

impl Upkeep {
    /// Creates the job for `registry`.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            ticks: AtomicU32::new(0),
            swept: AtomicI64::new(0),
            measured: AtomicBool::new(false),
            versions_filled: AtomicBool::new(false),
        }
    }
}

#[async_trait]
impl Job for Upkeep {
    fn name(&self) -> &'static str {
        "upkeep"
    }

    async fn tick(&self) -> Result<bool, ServiceError> {
        self.registry.checkpoint_uploads(false).await;
        // On every tick, so that a jump of the clock is noticed quickly.
        self.registry.watch_clock().await?;
        if self.ticks.fetch_add(1, Ordering::Relaxed).is_multiple_of(RARE_CHORES_TICKS) {
            self.registry.flush_pulls().await?;
            self.registry.forget_history().await?;
            self.registry.forget_events().await?;
            let swept = self.registry.forget_empty_repositories(self.swept.load(Ordering::Relaxed)).await?;
            self.swept.store(swept, Ordering::Relaxed);
            self.registry.metadata().tidy().await?;
            self.registry.metadata().record_day(self.registry.clock().now()).await?;
        }
        if !self.measured.load(Ordering::Relaxed) {
            let more = self.registry.measure_blobs().await?;
            self.measured.store(!more, Ordering::Relaxed);
            return Ok(more);
        }
        if !self.versions_filled.load(Ordering::Relaxed) {
            let more = self.registry.metadata().fill_version_keys(VERSION_KEYS_BATCH).await?;
            self.versions_filled.store(!more, Ordering::Relaxed);
            return Ok(more);
        }
        Ok(false)
    }
}

/// Old entries are removed once in this many ticks.
const CLEANUP_TICKS: u32 = 60;

/// Writes the audit log. Run it every second.
pub struct AuditUpkeep {
    registry: Arc<Registry>,
    ticks: AtomicU32,
}

impl AuditUpkeep {
    /// Creates the job for `registry`.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, ticks: AtomicU32::new(0) }
    }
}

#[async_trait]
impl Job for AuditUpkeep {
    fn name(&self) -> &'static str {
        "audit"
    }

    async fn tick(&self) -> Result<bool, ServiceError> {
        self.registry.flush_audit(false).await?;
        let is_cleanup_due = self.ticks.fetch_add(1, Ordering::Relaxed).is_multiple_of(CLEANUP_TICKS);
        if is_cleanup_due && !self.registry.settings().read_only {
            self.registry.forget_audit().await?;
        }
        Ok(false)
    }
}
