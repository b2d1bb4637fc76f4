//! The storage budget: the limit on the registry's disk usage, the bytes that count towards it, and the writers that
//! wait or were rejected because it is exhausted.
//!
//! A body reserves space before its bytes are written, so that concurrent bodies cannot exceed the budget together.
//! Above the high mark, jobs are asked to reclaim space ([`Pressure`]). At the limit writers wait for that. They are
//! rejected after a time-out, or at once if no job reclaims space.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::fair::Client;
use crate::oci::{RepoName, UploadId};

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

    pub(super) fn available_to_bodies(&self) -> u64 {
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
    pub(super) changed: Notify,
    reclaimers: AtomicUsize,
    waiting: AtomicUsize,
    /// A writer was rejected, and none has found space below the high mark since.
    pub(super) rejected: AtomicBool,
    /// How often stored bytes were removed.
    freed: AtomicU64,
    /// What occupies the remaining space, as of the last run that reclaimed too little.
    obstacle: Mutex<Option<String>>,
}

/// A writer waiting for space, while this value lives.
pub(super) struct Waiting<'a>(&'a Pressure);

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

    pub(super) fn freed(&self) -> u64 {
        self.freed.load(Ordering::Acquire)
    }

    /// Sets what occupies the remaining space, for error messages; `None` once there is space.
    pub fn set_obstacle(&self, obstacle: Option<String>) {
        *self.obstacle.lock() = obstacle;
    }

    pub(super) fn obstacle(&self) -> Option<String> {
        self.obstacle.lock().clone()
    }

    /// Returns whether writers are waiting for space.
    pub fn has_waiting_writers(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(self)
    }

    pub(super) fn request_space(&self) {
        self.requested.notify_one();
    }

    pub(super) fn has_reclaimer(&self) -> bool {
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

/// The size to which the disk usage of a file is rounded up when the filesystem has not been asked.
pub(super) const BLOCK: u64 = 4096;

/// The outcome of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// The space is reserved.
    Granted,
    /// There is not enough space.
    Rejected,
    /// The totals that were read are outdated, because staged bytes were released meanwhile. These may have become a
    /// blob that the totals did not include yet. Read the totals again.
    Outdated,
}

/// Staged bytes by upload. An upload that has become a blob is forgotten only after the totals include the blob: for a
/// moment both count, but never neither.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Staged>);

#[derive(Default)]
struct Staged {
    uploads: HashMap<UploadId, u64>,
    total: u64,
    /// How many releases there have been.
    release_count: u64,
}

impl Ledger {
    /// Sets how many bytes of an upload are staged.
    pub(super) fn set(&self, id: UploadId, bytes: u64) {
        self.lock().set(id, bytes);
    }

    /// Removes an upload that has no staged bytes any more.
    pub(super) fn forget(&self, id: UploadId) {
        self.lock().forget(id);
    }

    /// Lets an upload grow to a number of bytes if all uploads then take at most `left`. With `None` it only checks for
    /// space. `left` must have been determined after [`Ledger::release_count`] returned `release_count`.
    pub(super) fn grow(&self, upload: Option<(UploadId, u64)>, left: u64, release_count: u64) -> Growth {
        let mut staged = self.lock();
        if staged.release_count != release_count {
            return Growth::Outdated;
        }
        let Some((id, bytes)) = upload else {
            return if staged.total < left { Growth::Granted } else { Growth::Rejected };
        };
        let more =
            bytes.next_multiple_of(BLOCK).saturating_sub(staged.uploads.get(&id).copied().unwrap_or(0));
        if more > 0 && staged.total.saturating_add(more) > left {
            return Growth::Rejected;
        }
        if more > 0 {
            staged.set(id, bytes);
        }
        Growth::Granted
    }

    /// Returns how many releases there have been.
    pub(super) fn release_count(&self) -> u64 {
        self.lock().release_count
    }

    /// Returns the disk space of one upload, in bytes.
    pub(super) fn of(&self, id: UploadId) -> u64 {
        self.lock().uploads.get(&id).copied().unwrap_or(0)
    }

    /// Returns the disk space of all uploads, in bytes.
    pub(super) fn total(&self) -> u64 {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Staged> {
        self.0.lock()
    }
}

impl Staged {
    fn set(&mut self, id: UploadId, bytes: u64) {
        let bytes = bytes.next_multiple_of(BLOCK);
        let before = match bytes {
            // Opening uploads without sending anything must not take memory here.
            0 => self.uploads.remove(&id),
            _ => self.uploads.insert(id, bytes),
        };
        let before = before.unwrap_or(0);
        self.total = self.total - before + bytes;
        self.release_count += u64::from(bytes < before);
    }

    fn forget(&mut self, id: UploadId) {
        if let Some(before) = self.uploads.remove(&id) {
            self.total -= before;
            self.release_count += 1;
        }
    }
}

/// The client and the repository of a request, for limits that apply to each such pair.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Requester {
    /// The client whose share the request counts towards.
    pub(super) client: Client,
    /// The repository the request is about.
    pub(super) repo: RepoName,
}

/// How long a rejection is remembered: longer than clients pause before they retry.
const REFUSAL_TTL: Duration = Duration::from_secs(60);

/// How many rejections are remembered. Further clients wait again.
const MAX_REFUSALS: usize = 1024;

/// The rejections still in force.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Requester, Refusal>>);

#[derive(Clone, Copy)]
struct Refusal {
    /// Until when it is in force, by the monotonic clock.
    until: Duration,
    /// How often space had been freed at that time.
    freed: u64,
}

impl Refusals {
    /// Remembers that this requester has waited in vain. `freed` is how often space has been freed.
    pub(super) fn remember(&self, requester: &Requester, now: Duration, freed: u64) {
        let mut refusals = self.0.lock();
        if refusals.len() >= MAX_REFUSALS {
            refusals.retain(|_, refusal| refusal.is_in_force(now, freed));
        }
        if refusals.len() < MAX_REFUSALS || refusals.contains_key(requester) {
            refusals.insert(requester.clone(), Refusal { until: now.saturating_add(REFUSAL_TTL), freed });
        }
    }

    /// Returns whether this requester would wait in vain again.
    pub(super) fn is_in_force(&self, requester: &Requester, now: Duration, freed: u64) -> bool {
        let mut refusals = self.0.lock();
        let is_in_force = refusals.get(requester).is_some_and(|refusal| refusal.is_in_force(now, freed));
        if !is_in_force {
            refusals.remove(requester);
        }
        is_in_force
    }
}

impl Refusal {
    fn is_in_force(&self, now: Duration, freed: u64) -> bool {
        now < self.until && self.freed == freed
    }
}

/// A value that is measured from time to time, by the monotonic clock.
#[derive(Default)]
pub(super) struct Measured<T>(Mutex<Option<(Duration, T)>>);

impl<T: Copy> Measured<T> {
    /// Returns the value if it was measured less than `ttl` ago.
    pub(super) fn get(&self, now: Duration, ttl: Duration) -> Option<T> {
        let (at, value) = (*self.0.lock())?;
        (now.saturating_sub(at) < ttl).then_some(value)
    }

    pub(super) fn set(&self, now: Duration, value: T) {
        *self.0.lock() = Some((now, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fair::Client;

    fn requester(user: usize) -> Requester {
        Requester { client: Client::User(user.to_string().into()), repo: "app".parse().expect("a name") }
    }

    #[test]
    fn a_rejection_is_in_force_until_space_is_freed_or_time_passes() {
        let refusals = Refusals::default();
        let later = Duration::from_secs(59);
        refusals.remember(&requester(1), Duration::ZERO, 7);
        assert!(refusals.is_in_force(&requester(1), later, 7));
        assert!(!refusals.is_in_force(&requester(2), later, 7));
        assert!(!refusals.is_in_force(&requester(1), later, 8));
        assert!(!refusals.is_in_force(&requester(1), later, 7), "a rejection is forgotten once it has ended");
        refusals.remember(&requester(1), Duration::ZERO, 7);
        assert!(!refusals.is_in_force(&requester(1), REFUSAL_TTL, 7));
    }

    #[test]
    fn the_number_of_remembered_rejections_is_limited() {
        let refusals = Refusals::default();
        for user in 0..MAX_REFUSALS + 10 {
            refusals.remember(&requester(user), Duration::ZERO, 0);
        }
        assert_eq!(refusals.0.lock().len(), MAX_REFUSALS);
        refusals.remember(&requester(MAX_REFUSALS), REFUSAL_TTL, 0);
        assert_eq!(refusals.0.lock().len(), 1);
    }
}
