//! Reservations against quotas: bytes of open uploads, and changes that are not recorded in the metadata yet.
//!
//! Everything that grows reserves here first, checked against the usage recorded a moment ago. It releases the
//! reservation after its change is recorded. For a moment both count, but never neither, so concurrent requests cannot
//! exceed a quota together.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metadata::{Growth, OverQuota, Quota, QuotaUse, Scope};
use crate::oci::{RepoName, UploadId};

/// An upload is granted at most this many bytes ahead of what it requests, so that not every piece has to ask.
const MAX_AHEAD: u64 = 1 << 20;

/// The grant ahead is also limited to this fraction of the remaining space.
const AHEAD_FRACTION: u64 = 1024;

/// The outcome of a request for space in the quotas of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GrowthOutcome {
    /// The space is reserved.
    Granted,
    /// A quota would be exceeded.
    Rejected(OverQuota),
    /// The usage that was read is outdated, because another reservation was released meanwhile. Its bytes may be
    /// recorded now. Read the usage again.
    Outdated,
}

/// The recorded usage of the quotas that apply to a repository.
pub(super) struct Recorded<'a> {
    /// The usage of each quota.
    pub(super) quotas: &'a [QuotaUse],
    /// The value of [`Reservations::release_count`] before the usage was read.
    pub(super) release_count: u64,
}

/// Reservations by upload, and their sums by quota.
pub(super) struct Reservations {
    state: Mutex<State>,
    released: Notify,
}

struct State {
    uploads: HashMap<UploadId, Upload>,
    sums: Vec<Sum>,
    /// How many releases there have been.
    release_count: u64,
    /// How many changes are being recorded and may count twice.
    in_flight: usize,
}

struct Upload {
    repo: RepoName,
    /// How many bytes have been received.
    bytes: u64,
    /// How many bytes it may receive without another request.
    granted: u64,
}

/// What is reserved of one quota.
struct Sum {
    scope: Scope,
    /// Received bytes of uploads.
    bytes: u64,
    /// Everything granted to uploads and changes.
    granted: u64,
}

/// Space reserved for a change until it is recorded or given up.
pub(super) struct Reservation {
    in_flight: InFlight,
    scopes: Vec<Scope>,
    bytes: u64,
}

/// Marks a change as being recorded while this value lives.
pub(super) struct InFlight(Arc<Reservations>);

impl Reservations {
    /// Creates an empty set of reservations for these quotas.
    pub(super) fn new(quotas: &[Quota]) -> Arc<Self> {
        let sums = quotas.iter().map(|quota| Sum { scope: quota.scope.clone(), bytes: 0, granted: 0 });
        let state = State { uploads: HashMap::new(), sums: sums.collect(), release_count: 0, in_flight: 0 };
        Arc::new(Self { state: Mutex::new(state), released: Notify::new() })
    }

    /// Records that an upload grows to `bytes`, if it has been granted that many. Returns `false` if it has to request
    /// them with [`Reservations::grow`].
    pub(super) fn covers(&self, id: UploadId, bytes: u64) -> bool {
        let mut state = self.lock();
        let Some(upload) = state.uploads.get(&id).filter(|upload| bytes <= upload.granted) else {
            return false;
        };
        let granted = upload.granted;
        state.change(id, bytes, granted);
        true
    }

    /// Grants an upload growth to `bytes`, if there is space.
    pub(super) fn grow(
        &self,
        id: UploadId,
        repo: &RepoName,
        bytes: u64,
        recorded: &Recorded<'_>,
    ) -> GrowthOutcome {
        let mut state = self.lock();
        if state.release_count != recorded.release_count {
            return GrowthOutcome::Outdated;
        }
        let here = state.uploads.get(&id).map_or(0, |upload| upload.bytes);
        state.change(id, here, here);
        let wanted = bytes.saturating_sub(here);
        if let Some(over) = state.refusal(recorded.quotas, wanted) {
            return GrowthOutcome::Rejected(over);
        }
        let ahead = state.room(recorded.quotas).saturating_sub(wanted) / AHEAD_FRACTION;
        state.uploads.entry(id).or_insert_with(|| Upload { repo: repo.clone(), bytes: 0, granted: 0 });
        state.change(id, bytes, bytes + ahead.min(MAX_AHEAD));
        GrowthOutcome::Granted
    }

    /// Records how many bytes of an upload have been received, whether there is space or not.
    pub(super) fn set(&self, id: UploadId, repo: &RepoName, bytes: u64) {
        let mut state = self.lock();
        let is_known = bytes > 0 || state.uploads.contains_key(&id);
        if !is_known || !state.sums.iter().any(|sum| sum.scope.includes(repo)) {
            return;
        }
        let upload = state.uploads.entry(id);
        let before = upload.or_insert_with(|| Upload { repo: repo.clone(), bytes: 0, granted: 0 }).granted;
        state.change(id, bytes, bytes);
        state.release_count += u64::from(bytes < before);
    }

    /// Records that an upload has no bytes any more, or that they are recorded as a blob.
    pub(super) fn forget(&self, id: UploadId) {
        let mut state = self.lock();
        if state.uploads.contains_key(&id) {
            state.change(id, 0, 0);
            state.uploads.remove(&id);
            state.release_count += 1;
        }
    }

    /// Reserves `bytes` for a change, in the quotas of `recorded`.
    pub(super) fn reserve(
        self: &Arc<Self>,
        bytes: u64,
        recorded: &Recorded<'_>,
    ) -> Result<Reservation, GrowthOutcome> {
        let mut state = self.lock();
        if state.release_count != recorded.release_count {
            return Err(GrowthOutcome::Outdated);
        }
        if let Some(over) = state.refusal(recorded.quotas, bytes) {
            return Err(GrowthOutcome::Rejected(over));
        }
        let scopes: Vec<Scope> = recorded.quotas.iter().map(|found| found.quota.scope.clone()).collect();
        for sum in state.sums.iter_mut().filter(|sum| scopes.contains(&sum.scope)) {
            sum.granted += bytes;
        }
        state.in_flight += 1;
        Ok(Reservation { in_flight: InFlight(Arc::clone(self)), scopes, bytes })
    }

    /// Marks an upload as about to be recorded as a blob. Hold the result until the upload is forgotten here.
    pub(super) fn commit(self: &Arc<Self>) -> InFlight {
        self.lock().in_flight += 1;
        InFlight(Arc::clone(self))
    }

    /// Waits until `deadline` for a release. Returns whether there was one since `release_count`, so that the rejected
    /// request may fit now.
    pub(super) async fn wait_for_release(&self, release_count: u64, deadline: Instant) -> bool {
        let released = self.released.notified();
        tokio::pin!(released);
        released.as_mut().enable();
        {
            let state = self.lock();
            if state.release_count != release_count {
                return Instant::now() < deadline;
            }
            if state.in_flight == 0 {
                return false;
            }
        }
        tokio::time::timeout_at(deadline, released).await.is_ok()
    }

    /// Returns how many releases there have been.
    pub(super) fn release_count(&self) -> u64 {
        self.lock().release_count
    }

    /// Returns how many bytes uploads have received within the scope of a quota.
    pub(super) fn staged(&self, scope: &Scope) -> u64 {
        self.lock().sums.iter().find(|sum| sum.scope == *scope).map_or(0, |sum| sum.bytes)
    }

    /// Returns the uploads of a scope that have received any bytes.
    pub(super) fn uploads(&self, scope: &Scope) -> Vec<UploadId> {
        let state = self.lock();
        let found =
            state.uploads.iter().filter(|(_, upload)| upload.bytes > 0 && scope.includes(&upload.repo));
        found.map(|(id, _)| *id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Returns the quota that `wanted` more bytes would exceed. Revokes what uploads were granted ahead before it
    /// refuses.
    fn refusal(&mut self, quotas: &[QuotaUse], wanted: u64) -> Option<OverQuota> {
        let found = self.find_refusal(quotas, wanted)?;
        self.revoke_ahead(&found.scope);
        self.find_refusal(quotas, wanted)
    }

    fn find_refusal(&self, quotas: &[QuotaUse], wanted: u64) -> Option<OverQuota> {
        quotas.iter().find_map(|found| self.with_reserved(found).refuses(Growth::of_bytes(wanted)))
    }

    fn with_reserved(&self, found: &QuotaUse) -> QuotaUse {
        let reserved =
            self.sums.iter().find(|sum| sum.scope == found.quota.scope).map_or(0, |sum| sum.granted);
        QuotaUse { bytes: found.bytes.saturating_add(reserved), ..found.clone() }
    }

    /// Returns how many bytes all of these quotas leave.
    fn room(&self, quotas: &[QuotaUse]) -> u64 {
        let left = quotas.iter().filter_map(|found| {
            found.quota.bytes.map(|limit| limit.saturating_sub(self.with_reserved(found).bytes))
        });
        left.min().unwrap_or(u64::MAX)
    }

    fn revoke_ahead(&mut self, scope: &Scope) {
        let ahead = |upload: &&Upload| upload.granted > upload.bytes && scope.includes(&upload.repo);
        let found = self.uploads.iter().filter(|(_, upload)| ahead(upload));
        let found: Vec<_> = found.map(|(id, upload)| (*id, upload.bytes)).collect();
        for (id, bytes) in found {
            self.change(id, bytes, bytes);
        }
    }

    fn change(&mut self, id: UploadId, bytes: u64, granted: u64) {
        let Some(upload) = self.uploads.get_mut(&id) else {
            return;
        };
        for sum in self.sums.iter_mut().filter(|sum| sum.scope.includes(&upload.repo)) {
            sum.bytes = sum.bytes - upload.bytes + bytes;
            sum.granted = sum.granted - upload.granted + granted;
        }
        (upload.bytes, upload.granted) = (bytes, granted);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.in_flight.0.lock();
        for sum in state.sums.iter_mut().filter(|sum| self.scopes.contains(&sum.scope)) {
            sum.granted -= self.bytes;
        }
        state.release_count += 1;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        {
            let mut state = self.0.lock();
            state.in_flight -= 1;
            state.release_count += 1;
        }
        self.0.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(scope: &str, bytes: u64) -> Quota {
        Quota { bytes: Some(bytes), ..Quota::of(scope.parse().expect("a scope")) }
    }

    fn used(scope: &str, limit: u64, bytes: u64) -> QuotaUse {
        QuotaUse { quota: quota(scope, limit), bytes, tags: 0, repositories: 0 }
    }

    fn repo(name: &str) -> RepoName {
        name.parse().expect("a name")
    }

    #[test]
    fn uploads_share_the_remaining_space() {
        let quotas = [used("team/", 100, 40)];
        let reservations = Reservations::new(&[quota("team/", 100)]);
        let recorded = Recorded { quotas: &quotas, release_count: reservations.release_count() };
        let one = UploadId::random();
        let other = UploadId::random();
        let app = repo("team/app");
        assert_eq!(reservations.grow(one, &app, 50, &recorded), GrowthOutcome::Granted);
        let GrowthOutcome::Rejected(over) = reservations.grow(other, &app, 11, &recorded) else {
            panic!("granted")
        };
        assert_eq!((over.used, over.requested, over.limit), (90, 11, 100));
        assert_eq!(reservations.grow(other, &app, 10, &recorded), GrowthOutcome::Granted);
        assert_eq!(reservations.staged(&over.scope), 60);
        reservations.forget(one);
        assert_eq!(reservations.grow(other, &app, 60, &recorded), GrowthOutcome::Outdated);
        let recorded = Recorded { quotas: &quotas, release_count: reservations.release_count() };
        assert_eq!(reservations.grow(other, &app, 60, &recorded), GrowthOutcome::Granted);
        assert!(reservations.reserve(1, &recorded).is_err());
    }

    #[test]
    fn grant_ahead_does_not_let_an_upload_exceed_a_quota() {
        let limit = 100 << 20;
        let quotas = [used("", limit, 0)];
        let reservations = Reservations::new(&[quota("", limit)]);
        let recorded = Recorded { quotas: &quotas, release_count: 0 };
        let one = UploadId::random();
        let other = UploadId::random();
        assert_eq!(reservations.grow(one, &repo("a"), 1, &recorded), GrowthOutcome::Granted);
        assert!(reservations.covers(one, 1000));
        assert_eq!(reservations.grow(other, &repo("b"), limit - 2000, &recorded), GrowthOutcome::Granted);
        assert!(matches!(reservations.grow(one, &repo("a"), 2001, &recorded), GrowthOutcome::Rejected(_)));
        assert_eq!(reservations.grow(one, &repo("a"), 2000, &recorded), GrowthOutcome::Granted);
        assert_eq!(reservations.staged(&Scope::All), limit);
    }

    #[test]
    fn grant_ahead_is_revoked_for_another_upload() {
        let limit = 10 << 20;
        let quotas = [used("", limit, 0)];
        let reservations = Reservations::new(&[quota("", limit)]);
        let recorded = Recorded { quotas: &quotas, release_count: 0 };
        let one = UploadId::random();
        let other = UploadId::random();
        assert_eq!(reservations.grow(one, &repo("a"), 1, &recorded), GrowthOutcome::Granted);
        assert!(reservations.covers(one, 1000));
        assert!(!reservations.covers(one, 1 << 20));
        assert_eq!(reservations.grow(other, &repo("b"), limit - 1000, &recorded), GrowthOutcome::Granted);
        assert!(!reservations.covers(one, 1001));
        assert!(reservations.covers(one, 1000));
    }

    #[test]
    fn a_change_counts_until_it_is_recorded() {
        let quotas = [used("", 100, 0), used("team/", 50, 0)];
        let reservations = Reservations::new(&[quota("", 100), quota("team/", 50)]);
        let recorded = Recorded { quotas: &quotas, release_count: 0 };
        let Ok(change) = reservations.reserve(40, &recorded) else { panic!("there is space") };
        assert_eq!(reservations.staged(&Scope::All), 0);
        let Err(GrowthOutcome::Rejected(over)) = reservations.reserve(20, &recorded) else {
            panic!("granted")
        };
        assert_eq!(over.scope.as_str(), "team/");
        let outer = Recorded { quotas: &quotas[..1], release_count: 0 };
        assert!(reservations.reserve(60, &outer).is_ok());
        drop(change);
        let recorded = Recorded { quotas: &quotas, release_count: reservations.release_count() };
        assert!(reservations.reserve(50, &recorded).is_ok());
    }
}
