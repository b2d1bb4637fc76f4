//! Disk pressure: keeps the store within its budget (`storage.budget`).
//!
//! Above the high mark, or when a push waits for space, leases are shortened to the minimum. Then content is removed
//! until usage falls below the low mark, in this order: garbage and idle uploads, the oldest manifests in the
//! trash, and, step by step, what policies allow ([`Evictor`]). If that is not enough, one error is logged.
//!
//! A waiting push has an open upload, which extends the leases that were active when it started. If purges created
//! new leases for what they remove, nothing in its repository would be freed before the push gives up. So with a
//! budget every lease is recorded when it is granted, including leases on content that a manifest references, and a
//! purge grants none ([`Registry::leases_recorded_since`]). Only content that a pushing client was actually
//! promised is kept.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::collector::Collector;
use super::eviction::{Evicted, Evictor, SpaceGoal};
use crate::errors::Chain;
use crate::metadata::EventDetails;
use crate::oci::{Digest, RepoName};
use crate::registry::{BudgetLevel, BudgetState, ReclaimerGuard, Registry, ServiceError};

/// How often usage is checked when no push asks for space.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The bounds of the wait after a run that did not free enough. Within them, it is a part of the shortest lease.
const MIN_RETRY_PAUSE: Duration = Duration::from_millis(50);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(10);

/// The pause after an insufficient run, as a multiple of its duration, unless a push waits for space.
const PAUSE_FACTOR: u32 = 8;

/// The job's state since the program started.
#[derive(Debug, Clone, Copy, Default)]
pub struct PressureStatus {
    /// The number of runs, successful or not.
    pub runs: u64,
    /// The bytes freed by these runs.
    pub bytes: u64,
}

/// Reclaims space to keep the store within its budget.
pub struct SpaceReclaimer {
    registry: Arc<Registry>,
    collector: Arc<Collector>,
    evictor: Option<Arc<dyn Evictor>>,
    status: Mutex<PressureStatus>,
    promise: Mutex<Promise>,
    /// What the last run left because an adoption is not finished.
    unfinished: Mutex<Option<String>>,
    /// The level that was last logged.
    logged_level: Mutex<Option<BudgetLevel>>,
}

impl SpaceReclaimer {
    /// Creates the job for `registry`. It uses the registry's collector and, if there are policies, the content they
    /// allow to be evicted.
    pub fn new(
        registry: Arc<Registry>,
        collector: Arc<Collector>,
        evictor: Option<Arc<dyn Evictor>>,
    ) -> Self {
        Self {
            registry,
            collector,
            evictor,
            status: Mutex::default(),
            promise: Mutex::default(),
            unfinished: Mutex::default(),
            logged_level: Mutex::default(),
        }
    }

    /// Returns the state since the program started.
    pub fn status(&self) -> PressureStatus {
        *self.status.lock()
    }

    /// Reclaims space whenever it is requested, until `stop` is cancelled.
    pub async fn run(&self, stop: CancellationToken) {
        let reclaimer = self.registry.pressure().register_reclaimer();
        loop {
            let pause = match self.reclaim_if_needed().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(error = %Chain(&error), "could not reclaim space; retrying");
                    Some(MAX_RETRY_PAUSE)
                }
            };
            if stop.run_until_cancelled(self.wait_for_request(&reclaimer, pause)).await.is_none() {
                return;
            }
        }
    }

    /// Waits until space is requested, or until the next check is due. After an insufficient run, only requests of
    /// pushes that wait for space count, and not at once, because every other upload also requests space.
    async fn wait_for_request(&self, reclaimer: &ReclaimerGuard, pause: Option<Duration>) {
        let Some(pause) = pause else {
            let _ = tokio::time::timeout(CHECK_INTERVAL, reclaimer.requested()).await;
            return;
        };
        let requested = async {
            tokio::time::sleep(self.min_pause()).await;
            while !self.registry.pressure().has_waiting_writers() {
                reclaimer.requested().await;
            }
        };
        let _ = tokio::time::timeout(pause, requested).await;
    }

    fn min_pause(&self) -> Duration {
        (self.registry.settings().shortest_lease() / 16).clamp(MIN_RETRY_PAUSE, MAX_RETRY_PAUSE)
    }

    /// Reclaims space if needed. Returns how long to wait at most before the next check if more is still needed.
    ///
    /// # Errors
    /// Fails if a store can't be read or written. Space reclaimed before the failure stays free.
    pub async fn reclaim_if_needed(&self) -> Result<Option<Duration>, ServiceError> {
        let started = tokio::time::Instant::now();
        if !self.is_needed().await? {
            return Ok(None);
        }
        self.collector.set_pressure(true);
        self.status.lock().runs += 1;
        let reclaimed = Run::new(self).reclaim().await;
        let needed = self.missing().await? > 0;
        self.collector.set_pressure(needed);
        self.registry.pressure().wake_writers();
        reclaimed?;
        if let Some(state) = self.registry.budget().await? {
            let level = if needed { self.registry.budget_level(&state) } else { BudgetLevel::Ample };
            self.registry.pressure().set_obstacle(needed.then(|| self.obstacle()));
            self.record_level(&state, level).await;
        }
        let pause = self.min_pause().max(started.elapsed().saturating_mul(PAUSE_FACTOR));
        Ok((needed || self.registry.pressure().has_waiting_writers()).then_some(pause))
    }

    /// Whether space is needed. Once reclaiming has started, it continues until usage falls below the low mark.
    async fn is_needed(&self) -> Result<bool, ServiceError> {
        let Some(state) = self.registry.budget().await? else {
            return Ok(false);
        };
        let continues = self.collector.is_under_pressure() && state.is_above_low();
        if continues || state.is_above_high() || self.registry.pressure().has_waiting_writers() {
            return Ok(true);
        }
        self.collector.set_pressure(false);
        self.record_level(&state, BudgetLevel::Ample).await;
        Ok(false)
    }

    /// Returns how many bytes have to be freed.
    async fn missing(&self) -> Result<u64, ServiceError> {
        let state = self.registry.budget().await?;
        Ok(state.map_or(0, |state| state.taken().saturating_sub(state.low)))
    }

    /// Returns how many bytes will be freed when leases end.
    fn promised(&self) -> u64 {
        self.promise.lock().bytes(self.registry.clock().elapsed())
    }

    /// Explains why the space still needed is not free. Clients see this text, so it names no policy.
    fn obstacle(&self) -> String {
        let reason = if self.promised() > 0 {
            "deleted images keep their space until their leases end (gc.lease_pressure)"
        } else if self.policies().is_empty() {
            "no retention policy allows images to expire"
        } else {
            "the retention policies keep the rest"
        };
        match &*self.unfinished.lock() {
            Some(unfinished) => format!("{reason}; {unfinished}"),
            None => reason.to_owned(),
        }
    }

    /// Explains what an adoption that is not finished keeps on the disk. `futile` is how many images stayed because the
    /// other registry's tree has their files too.
    async fn record_unfinished(&self, futile: u64) -> Result<(), ServiceError> {
        let figures = self.registry.metadata().adoption_figures().await?;
        let mut reasons = Vec::new();
        if figures.held_manifests > 0 {
            reasons.push("adopted images stay until they are released (orlop adopt --release)".to_owned());
        }
        if futile > 0 || (figures.held_manifests > 0 && figures.hardlinked_bytes > 0) {
            reasons.push(format!(
                "the tree of the old registry holds {} of these bytes too: finish the adoption (orlop adopt --finish)",
                figures.hardlinked_bytes
            ));
        }
        *self.unfinished.lock() = (!reasons.is_empty()).then(|| reasons.join("; "));
        Ok(())
    }

    fn policies(&self) -> Vec<String> {
        self.evictor.as_ref().map(|evictor| evictor.policies()).unwrap_or_default()
    }

    fn record_freed(&self, expected: u64, freed: u64) {
        let elapsed = self.registry.clock().elapsed();
        let lease = self.registry.settings().shortest_lease();
        self.promise.lock().record(elapsed, expected, freed, lease);
        self.status.lock().bytes += freed;
    }

    /// Records the level as an event, and logs it if it changed.
    async fn record_level(&self, state: &BudgetState, level: BudgetLevel) {
        self.registry.record_state(event(state, level)).await;
        let before = self.logged_level.lock().replace(level).unwrap_or(BudgetLevel::Ample);
        if before == level {
            return;
        }
        let BudgetState { budget, used, reserved, low, .. } = *state;
        let obstacle = self.obstacle();
        let policies = self.policies();
        match level {
            BudgetLevel::Ample => tracing::info!(budget, used, "budget usage is back to normal"),
            BudgetLevel::High => tracing::error!(
                budget,
                used,
                reserved,
                low,
                obstacle,
                ?policies,
                "budget nearly exhausted and too little can be removed: delete images, let policies expire \
                 more of them, or raise storage.budget"
            ),
            BudgetLevel::Full => tracing::error!(
                budget,
                used,
                reserved,
                low,
                obstacle,
                ?policies,
                "budget exhausted; pushes are rejected: delete images, let policies expire more of them, or \
                 raise storage.budget"
            ),
        }
    }
}

fn event(state: &BudgetState, level: BudgetLevel) -> EventDetails {
    let BudgetState { budget, used, reserved, .. } = *state;
    match level {
        BudgetLevel::Ample => EventDetails::BudgetAmple { budget, used, reserved },
        BudgetLevel::High => EventDetails::BudgetHigh { budget, used, reserved },
        BudgetLevel::Full => EventDetails::BudgetFull { budget, used, reserved },
    }
}

/// The maximum number of manifests purged between two checks.
const MAX_PURGE_BATCH: u64 = 256;

/// How many checks in a row may free nothing. While pushes wait, more is removed than needed in the end, because
/// content under a lease is not freed at once. This limits how much.
const MAX_FRUITLESS_CHECKS: u64 = 3;

/// A run and its progress.
struct Run<'a> {
    job: &'a SpaceReclaimer,
    /// How many manifests are removed before the next check. It grows where manifests free little.
    chunk: AtomicU64,
    /// How many manifests had been evicted at the last check.
    seen: AtomicU64,
    /// How many checks in a row freed nothing.
    fruitless: AtomicU64,
    /// Manifests in the trash whose removal would free too little, because another registry's tree has their files too.
    futile: tokio::sync::Mutex<HashSet<(RepoName, Digest)>>,
}

impl<'a> Run<'a> {
    fn new(job: &'a SpaceReclaimer) -> Self {
        Self {
            job,
            chunk: AtomicU64::new(1),
            seen: AtomicU64::new(0),
            fruitless: AtomicU64::new(0),
            futile: tokio::sync::Mutex::default(),
        }
    }

    /// Reclaims space: removes garbage first, then the oldest manifests in the trash, then what policies allow.
    async fn reclaim(&self) -> Result<(), ServiceError> {
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
        let mut kept = 0;
        if let Some(evictor) = &self.job.evictor {
            let evicted = evictor.evict(self).await?;
            while !self.is_enough().await? && self.empty_trash(MAX_PURGE_BATCH).await? > 0 {}
            let Evicted { tags, manifests, futile } = evicted;
            tracing::debug!(tags, manifests, futile, "evicted by retention policies");
            kept = futile;
        }
        let kept = kept + self.futile.lock().await.len() as u64;
        self.job.record_unfinished(kept).await
    }

    /// Purges up to `limit` manifests from the trash and removes what that frees. Returns how many were purged.
    async fn empty_trash(&self, limit: u64) -> Result<u64, ServiceError> {
        let registry = &self.job.registry;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let purged = self.oldest_trash(limit).await?;
        if purged.is_empty() {
            return Ok(0);
        }
        let count = purged.len();
        let expected = registry.metadata().would_free(purged.clone()).await?;
        registry.purge_from_trash(&purged).await?;
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

    /// Returns the oldest manifests in the trash whose removal frees space. The others can be restored meanwhile.
    async fn oldest_trash(&self, limit: usize) -> Result<Vec<(RepoName, Digest)>, ServiceError> {
        let metadata = self.job.registry.metadata();
        if !metadata.has_hardlinked().await? {
            return Ok(metadata.oldest_trash(limit).await?);
        }
        let mut futile = self.futile.lock().await;
        loop {
            let asked = limit + futile.len();
            let page = metadata.oldest_trash(asked).await?;
            let is_last = page.len() < asked;
            let mut useful = Vec::new();
            for removed in page.into_iter().filter(|removed| !futile.contains(removed)).collect::<Vec<_>>() {
                if metadata.removal_effect(vec![removed.clone()]).await?.is_futile() {
                    futile.insert(removed);
                } else {
                    useful.push(removed);
                }
            }
            if is_last || !useful.is_empty() {
                return Ok(useful);
            }
        }
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

/// The bytes that will be freed when leases end, so that no more is removed than needed in the meantime.
#[derive(Debug, Clone, Copy, Default)]
struct Promise {
    bytes: u64,
    /// When the promise expires, by the monotonic clock. An upload may keep the bytes for much longer than a lease.
    until: Duration,
}

impl Promise {
    /// Returns how many bytes are still expected.
    fn bytes(&self, elapsed: Duration) -> u64 {
        if elapsed < self.until { self.bytes } else { 0 }
    }

    /// Records that content of `expected` bytes was removed, and that `freed` bytes have become free by now.
    fn record(&mut self, elapsed: Duration, expected: u64, freed: u64, lease: Duration) {
        self.bytes = self.bytes(elapsed).saturating_add(expected).saturating_sub(freed);
        if expected > 0 {
            self.until = elapsed.saturating_add(lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promise_lasts_for_one_lease() {
        let mut promise = Promise::default();
        let second = Duration::from_secs(1);
        promise.record(Duration::ZERO, 100, 30, 10 * second);
        promise.record(5 * second, 0, 20, 10 * second);
        assert_eq!(promise.bytes(9 * second), 50);
        assert_eq!(promise.bytes(10 * second), 0);
        promise.record(11 * second, 7, 100, second);
        assert_eq!(promise.bytes(11 * second), 0);
    }
}
