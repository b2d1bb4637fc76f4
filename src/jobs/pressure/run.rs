//! One run of the space reclaimer: it ends when enough space is free, or when nothing more may be removed.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::SpaceReclaimer;
use super::relief::{Evicted, SpaceGoal};
use crate::clock::Timestamp;
use crate::registry::ServiceError;

/// The maximum number of manifests purged between two checks.
const MAX_PURGE_BATCH: u64 = 256;

/// How many checks in a row may free nothing. While pushes wait, more is removed than needed in the end, because
/// content under a lease is not freed at once. This limits how much.
const MAX_FRUITLESS_CHECKS: u64 = 3;

/// A run and its progress.
pub(super) struct Run<'a> {
    job: &'a SpaceReclaimer,
    /// How many manifests are removed before the next check. It grows where manifests free little.
    chunk: AtomicU64,
    /// How many manifests had been evicted at the last check.
    seen: AtomicU64,
    /// How many checks in a row freed nothing.
    fruitless: AtomicU64,
}

impl<'a> Run<'a> {
    pub(super) fn new(job: &'a SpaceReclaimer) -> Self {
        Self { job, chunk: AtomicU64::new(1), seen: AtomicU64::new(0), fruitless: AtomicU64::new(0) }
    }

    /// Reclaims space: removes garbage first, then the oldest manifests in the trash, then what policies allow.
    pub(super) async fn reclaim(&self) -> Result<(), ServiceError> {
        self.collect(0).await?;
        if !self.job.collector.check_clock().await? {
            return Ok(());
        }
        loop {
            if self.is_enough().await? {
                return Ok(());
            }
            let chunk = self.chunk.load(Ordering::Relaxed);
            if self.empty_trash(chunk).await? == 0 {
                break;
            }
        }
        if let Some(evictor) = &self.job.evictor {
            let evicted = evictor.evict(self).await?;
            while !self.is_enough().await? && self.empty_trash(MAX_PURGE_BATCH).await? > 0 {}
            let Evicted { tags, manifests } = evicted;
            tracing::debug!(tags, manifests, "evicted by retention policies");
        }
        Ok(())
    }

    /// Purges up to `limit` manifests from the trash and removes what that frees. Returns how many were purged.
    async fn empty_trash(&self, limit: u64) -> Result<u64, ServiceError> {
        let registry = &self.job.registry;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let purged = registry.metadata().oldest_trash(limit).await?;
        if purged.is_empty() {
            return Ok(0);
        }
        let count = purged.len();
        let expected = registry.metadata().would_free(purged).await?;
        registry.empty_trash(None, Timestamp(i64::MAX), count).await?;
        let missing = self.job.missing().await?;
        let freed = self.collect(expected).await?;
        self.fruitless.fetch_add(1, Ordering::Relaxed);
        if freed > 0 {
            self.fruitless.store(0, Ordering::Relaxed);
        }
        if freed < missing / 8 {
            let chunk = self.chunk.load(Ordering::Relaxed);
            self.chunk.store((chunk * 2).min(MAX_PURGE_BATCH), Ordering::Relaxed);
        }
        Ok(count as u64)
    }

    /// Collects all garbage that is due, and returns how many bytes were freed, among them the `expected` ones.
    async fn collect(&self, expected: u64) -> Result<u64, ServiceError> {
        let mut freed = 0;
        let mut more = true;
        while more {
            let (done, waiting) = self.job.collector.collect().await?;
            freed += done.bytes;
            more = waiting;
        }
        self.job.record_freed(expected, freed);
        Ok(freed)
    }

    /// Whether enough space is free, or will be without further removals.
    async fn is_enough(&self) -> Result<bool, ServiceError> {
        let missing = self.job.missing().await?;
        if missing == 0 {
            return Ok(true);
        }
        let can_wait = !self.job.registry.pressure().has_waiting_writers();
        let is_fruitless = self.fruitless.load(Ordering::Relaxed) >= MAX_FRUITLESS_CHECKS;
        Ok((can_wait || is_fruitless) && self.job.promised() >= missing)
    }
}

#[async_trait]
impl SpaceGoal for Run<'_> {
    async fn is_reached(&self, evicted: u64) -> Result<bool, ServiceError> {
        let fresh = evicted.saturating_sub(self.seen.load(Ordering::Relaxed));
        if fresh > 0 && fresh < self.chunk.load(Ordering::Relaxed) {
            return Ok(false);
        }
        self.seen.store(evicted, Ordering::Relaxed);
        let mut left = fresh;
        while left > 0 {
            let emptied = self.empty_trash(left.min(MAX_PURGE_BATCH)).await?;
            left = if emptied == 0 { 0 } else { left.saturating_sub(emptied) };
        }
        self.is_enough().await
    }
}
