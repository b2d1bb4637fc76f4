//! The storage budget: the limit on the registry's disk usage, and the queue of writers when it is exhausted.
//!
//! A body reserves space before its bytes are written, so that concurrent bodies cannot exceed the budget together.
//! Above the high mark, jobs are asked to reclaim space ([`Pressure`]). At the limit writers wait for that. They are
//! rejected after a time-out, or at once if no job reclaims space.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ledger::Growth;
use super::{Registry, Requester, ServiceError};
use crate::oci::UploadId;
use crate::store::StoredItem;

/// How long the cached size of the directories and the disk is used.
const DISK_USAGE_TTL: Duration = Duration::from_secs(10);

/// How long an upload must have received nothing to be named as idle in an error.
const IDLE_UPLOAD: Duration = Duration::from_secs(60);

/// How many idle uploads are examined for an error.
const MAX_IDLE_UPLOADS: usize = 1000;

/// The reserve in which the database and directories can grow while bodies fill the rest: this fraction of the budget,
/// up to a maximum.
const RESERVE_FRACTION: u64 = 32;

/// The maximum size of that reserve, in bytes.
const MAX_RESERVE: u64 = 16 << 20;

/// The size of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetSize {
    /// A number of bytes.
    Bytes(u64),
    /// A percentage of the filesystem the blobs are on.
    Percent(u8),
}

/// The size of the budget and the marks for reclaiming space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSettings {
    /// The maximum disk usage.
    pub limit: BudgetSize,
    /// The percentage of it above which space is reclaimed.
    pub high: u8,
    /// The percentage down to which space is reclaimed.
    pub low: u8,
    /// How long writers wait for space.
    pub wait: Duration,
}

/// The state of the budget. All sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetState {
    /// The limit on disk usage.
    pub budget: u64,
    /// The disk usage of blobs, blobs pending deletion, directories and the database.
    pub used: u64,
    /// The disk usage of open uploads, including reservations.
    pub reserved: u64,
    /// Above this usage space is reclaimed.
    pub high: u64,
    /// Down to this usage space is reclaimed.
    pub low: u64,
}

impl BudgetState {
    /// Returns everything that is used or reserved.
    pub fn taken(&self) -> u64 {
        self.used.saturating_add(self.reserved)
    }

    /// Returns how much space is left for bodies.
    pub fn left(&self) -> u64 {
        self.available_to_bodies().saturating_sub(self.taken())
    }

    fn available_to_bodies(&self) -> u64 {
        self.budget - (self.budget / RESERVE_FRACTION).min(MAX_RESERVE)
    }

    /// Returns whether space has to be reclaimed.
    pub fn is_above_high(&self) -> bool {
        self.taken() > self.high
    }

    /// Returns whether reclaiming space has to continue.
    pub fn is_above_low(&self) -> bool {
        self.taken() > self.low
    }
}

/// How close to the budget the registry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BudgetLevel {
    /// There is enough space.
    Ample = 0,
    /// Above the high mark.
    High = 1,
    /// Writers are rejected, or about to be.
    Full = 2,
}

/// Connects writers that need space with the jobs that reclaim it.
#[derive(Default)]
pub struct Pressure {
    requested: Notify,
    changed: Notify,
    reclaimers: AtomicUsize,
    waiting: AtomicUsize,
    /// A writer was rejected, and none has found space below the high mark since.
    rejected: AtomicBool,
    /// How often stored bytes were removed.
    freed: AtomicU64,
    /// What occupies the remaining space, as of the last run that reclaimed too little.
    obstacle: Mutex<Option<String>>,
}

/// A writer waiting for space, while this value lives.
struct Waiting<'a>(&'a Pressure);

/// A job that reclaims space, while this value lives.
pub struct ReclaimerGuard(Arc<Pressure>);

impl Pressure {
    /// Registers a job that reclaims space. Without one, no writer waits for space.
    pub fn register_reclaimer(self: &Arc<Self>) -> ReclaimerGuard {
        self.reclaimers.fetch_add(1, Ordering::AcqRel);
        ReclaimerGuard(Arc::clone(self))
    }

    /// Wakes the waiting writers, so that they check for space again.
    pub fn wake_writers(&self) {
        self.changed.notify_waiters();
    }

    /// Records that stored bytes were removed, and wakes the waiting writers.
    pub(super) fn record_freed(&self) {
        self.freed.fetch_add(1, Ordering::AcqRel);
        self.wake_writers();
    }

    fn freed(&self) -> u64 {
        self.freed.load(Ordering::Acquire)
    }

    /// Sets what occupies the remaining space, for error messages; `None` once there is space.
    pub fn set_obstacle(&self, obstacle: Option<String>) {
        *self.obstacle.lock() = obstacle;
    }

    fn obstacle(&self) -> Option<String> {
        self.obstacle.lock().clone()
    }

    /// Returns whether writers are waiting for space.
    pub fn has_waiting_writers(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(self)
    }

    fn request_space(&self) {
        self.requested.notify_one();
    }

    fn has_reclaimer(&self) -> bool {
        self.reclaimers.load(Ordering::Acquire) > 0
    }
}

impl ReclaimerGuard {
    /// Returns when space is requested.
    pub async fn requested(&self) {
        self.0.requested.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for ReclaimerGuard {
    fn drop(&mut self) {
        self.0.reclaimers.fetch_sub(1, Ordering::AcqRel);
        self.0.wake_writers();
    }
}

/// Caches what changes slowly: the time of the last check, the size of the directories and the size of the disk.
#[derive(Default)]
pub(super) struct DiskUsageCache(Mutex<Option<(Duration, u64, u64)>>);

impl Registry {
    /// Returns the state of the budget; `None` if there is none.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn budget(&self) -> Result<Option<BudgetState>, ServiceError> {
        let Some(settings) = self.settings.budget else {
            return Ok(None);
        };
        self.budget_state(settings).await.map(Some)
    }

    /// Returns how close to the budget `state` is.
    pub fn budget_level(&self, state: &BudgetState) -> BudgetLevel {
        let is_rejecting = self.pressure.rejected.load(Ordering::Acquire);
        match state.is_above_high() {
            _ if state.left() == 0 => BudgetLevel::Full,
            true if is_rejecting => BudgetLevel::Full,
            true => BudgetLevel::High,
            false => BudgetLevel::Ample,
        }
    }

    /// Returns the connection between writers and the jobs that reclaim space.
    pub fn pressure(&self) -> &Arc<Pressure> {
        &self.pressure
    }

    async fn budget_state(&self, settings: BudgetSettings) -> Result<BudgetState, ServiceError> {
        let (directories, disk) = self.disk_usage().await?;
        let totals = self.metadata.totals().await?;
        let database = self.metadata.own_size().await?;
        let budget = match settings.limit {
            BudgetSize::Bytes(bytes) => bytes,
            BudgetSize::Percent(percent) => disk / 100 * u64::from(percent),
        };
        Ok(BudgetState {
            budget,
            used: totals.blob_allocated + totals.pending_deletion_allocated + directories + database,
            reserved: self.ledger.total(),
            high: budget / 100 * u64::from(settings.high),
            low: budget / 100 * u64::from(settings.low),
        })
    }

    async fn disk_usage(&self) -> Result<(u64, u64), ServiceError> {
        let now = self.clock.elapsed();
        let last = *self.disk_usage.0.lock();
        if let Some((at, directories, disk)) = last
            && now.saturating_sub(at) < DISK_USAGE_TTL
        {
            return Ok((directories, disk));
        }
        let directories = self.blobs.allocated(StoredItem::Directories).await?;
        let disk = self.blobs.space().await?.total;
        *self.disk_usage.0.lock() = Some((now, directories, disk));
        Ok((directories, disk))
    }

    /// Reserves space for the bytes of an upload, if there is space now. With `None` it only checks. Returns whether
    /// there is space.
    ///
    /// # Errors
    /// Fails if a store fails. A lack of space is not an error.
    pub(super) async fn try_reserve(&self, upload: Option<(UploadId, u64)>) -> Result<bool, ServiceError> {
        let Some(settings) = self.settings.budget else {
            return Ok(true);
        };
        Ok(self.reserve_now(settings, upload).await?.is_ok())
    }

    /// The same, but waits until there is space.
    ///
    /// # Errors
    /// [`ServiceError::Full`] if the budget is exhausted, after the configured wait, or at once for a requester that
    /// has just waited in vain.
    pub(super) async fn reserve(
        &self,
        requester: &Requester,
        upload: Option<(UploadId, u64)>,
    ) -> Result<(), ServiceError> {
        let Some(settings) = self.settings.budget else {
            return Ok(());
        };
        let timeout = tokio::time::sleep(settings.wait);
        tokio::pin!(timeout);
        let mut waiting = None;
        loop {
            // Registered before the check, so that space freed meanwhile is not missed.
            let changed = self.pressure.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let Err(state) = self.reserve_now(settings, upload).await? else {
                return Ok(());
            };
            self.pressure.request_space();
            let freed = self.pressure.freed();
            if waiting.is_none() && self.refusals.is_in_force(requester, self.clock.elapsed(), freed) {
                return Err(self.budget_error(requester, &state).await);
            }
            waiting.get_or_insert_with(|| self.pressure.wait());
            let waited = async {
                tokio::select! {
                    () = changed => true,
                    () = &mut timeout => false,
                }
            };
            if !self.pressure.has_reclaimer() || !waited.await {
                self.pressure.rejected.store(true, Ordering::Release);
                self.refusals.remember(requester, self.clock.elapsed(), self.pressure.freed());
                return Err(self.budget_error(requester, &state).await);
            }
        }
    }

    /// Reserves space if there is space now. Otherwise the inner error is the state of the budget.
    async fn reserve_now(
        &self,
        settings: BudgetSettings,
        upload: Option<(UploadId, u64)>,
    ) -> Result<Result<(), BudgetState>, ServiceError> {
        loop {
            let release_count = self.ledger.release_count();
            let state = self.budget_state(settings).await?;
            let left = state.available_to_bodies().saturating_sub(state.used);
            match self.ledger.grow(upload, left, release_count) {
                Growth::Outdated => {}
                Growth::Rejected => return Ok(Err(state)),
                Growth::Granted => {
                    if state.is_above_high() {
                        self.pressure.request_space();
                    } else {
                        self.pressure.rejected.store(false, Ordering::Release);
                    }
                    return Ok(Ok(()));
                }
            }
        }
    }

    /// Builds the error for an exhausted budget, with what occupies the space.
    async fn budget_error(&self, requester: &Requester, state: &BudgetState) -> ServiceError {
        let mut message = format!(
            "the budget of {} bytes (storage.budget) is used up: {} bytes are stored and {} reserved by uploads",
            state.budget, state.used, state.reserved
        );
        for holder in
            [self.describe_idle_upload(requester).await, self.pressure.obstacle()].into_iter().flatten()
        {
            message.push_str("; ");
            message.push_str(&holder);
        }
        message.push_str(
            "; delete images, let policies expire more of them, or raise storage.budget; pulls and deletes still work",
        );
        ServiceError::Full(message)
    }

    /// Describes the largest idle upload. Its id is shown only to clients of its own repository.
    async fn describe_idle_upload(&self, requester: &Requester) -> Option<String> {
        let idle_since = self.clock.now().minus(IDLE_UPLOAD);
        let idle = self.metadata.idle_uploads(idle_since, MAX_IDLE_UPLOADS).await.ok()?;
        let idle = idle.into_iter().filter(|id| !self.sessions.is_busy(*id));
        let (bytes, id) = idle.map(|id| (self.ledger.of(id), id)).max_by_key(|(bytes, _)| *bytes)?;
        if bytes == 0 {
            return None;
        }
        let own = self.metadata.upload(&requester.repo, id).await.ok().flatten();
        Some(match own {
            Some(upload) => format!(
                "the upload {id} of this repository holds {bytes} bytes and has been idle for {} s: continue or cancel it",
                self.clock.now().since(upload.touched_at).as_secs()
            ),
            None => format!("an idle upload of another repository holds {bytes} bytes until it expires"),
        })
    }
}
