//! What requests hold of quotas besides what is recorded: the bytes of open uploads, and changes on their way into the
//! metadata.
//!
//! Whatever grows reserves here first, with what is recorded as of a moment ago, and gives the reservation back after
//! its change is recorded: for a moment both count, and never neither. So no number of requests together passes a
//! quota.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metadata::{Growth, OverQuota, Quota, QuotaUse, Scope};
use crate::oci::{RepoName, UploadId};

/// An upload is granted at most so many bytes more than it asks for, so that not every piece of a body asks.
const MAX_AHEAD: u64 = 1 << 20;

/// Nor more than this part of what is left.
const AHEAD_PART: u64 = 1024;

/// What became of a request for room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grant {
    /// There is room.
    Done,
    /// There is none.
    Refused(OverQuota),
    /// Something was given back meanwhile: it may be recorded by now, and not have been when the use was read.
    Overtaken,
}

/// What is recorded of the quotas that hold for a repository.
pub(super) struct Recorded<'a> {
    /// What is used of each.
    pub(super) quotas: &'a [QuotaUse],
    /// [`Reservations::releases`] before that was read.
    pub(super) releases: u64,
}

/// Reservations by upload, and their sums by quota.
pub(super) struct Reservations {
    state: Mutex<State>,
    released: Notify,
}

struct State {
    uploads: HashMap<UploadId, Upload>,
    sums: Vec<Sum>,
    /// How often something was given back.
    releases: u64,
    /// How many changes are being recorded, which may count twice.
    in_flight: usize,
}

struct Upload {
    repo: RepoName,
    /// Bytes that are here.
    bytes: u64,
    /// Bytes that it may have without asking again.
    granted: u64,
}

/// What is reserved of a quota.
struct Sum {
    scope: Scope,
    /// Bytes of uploads that are here.
    bytes: u64,
    /// All that is granted, to uploads and changes.
    granted: u64,
}

/// Room for a change, until it is recorded or given up.
pub(super) struct Reservation {
    in_flight: InFlight,
    scopes: Vec<Scope>,
    bytes: u64,
}

/// A change that is being recorded, as long as this lives.
pub(super) struct InFlight(Arc<Reservations>);

impl Reservations {
    /// None, for these quotas.
    pub(super) fn new(quotas: &[Quota]) -> Arc<Self> {
        let sums = quotas.iter().map(|quota| Sum { scope: quota.scope.clone(), bytes: 0, granted: 0 });
        let state = State { uploads: HashMap::new(), sums: sums.collect(), releases: 0, in_flight: 0 };
        Arc::new(Self { state: Mutex::new(state), released: Notify::new() })
    }

    /// Records that an upload grows to so many bytes, if it was granted them. Otherwise it has to ask.
    pub(super) fn covers(&self, id: UploadId, bytes: u64) -> bool {
        let mut state = self.lock();
        let Some(upload) = state.uploads.get(&id).filter(|upload| bytes <= upload.granted) else {
            return false;
        };
        let granted = upload.granted;
        state.change(id, bytes, granted);
        true
    }

    /// Lets an upload grow to so many bytes, if there is room.
    pub(super) fn grow(&self, id: UploadId, repo: &RepoName, bytes: u64, recorded: &Recorded<'_>) -> Grant {
        let mut state = self.lock();
        if state.releases != recorded.releases {
            return Grant::Overtaken;
        }
        let here = state.uploads.get(&id).map_or(0, |upload| upload.bytes);
        state.change(id, here, here);
        let wanted = bytes.saturating_sub(here);
        if let Some(over) = state.refusal(recorded.quotas, wanted) {
            return Grant::Refused(over);
        }
        let ahead = state.room(recorded.quotas).saturating_sub(wanted) / AHEAD_PART;
        state.uploads.entry(id).or_insert_with(|| Upload { repo: repo.clone(), bytes: 0, granted: 0 });
        state.change(id, bytes, bytes + ahead.min(MAX_AHEAD));
        Grant::Done
    }

    /// Records how many bytes of an upload are here, whether there is room or not.
    pub(super) fn set(&self, id: UploadId, repo: &RepoName, bytes: u64) {
        let mut state = self.lock();
        let is_known = bytes > 0 || state.uploads.contains_key(&id);
        if !is_known || !state.sums.iter().any(|sum| sum.scope.holds(repo)) {
            return;
        }
        let upload = state.uploads.entry(id);
        let before = upload.or_insert_with(|| Upload { repo: repo.clone(), bytes: 0, granted: 0 }).granted;
        state.change(id, bytes, bytes);
        state.releases += u64::from(bytes < before);
    }

    /// Records that an upload has no bytes any more, or that they are recorded as a blob.
    pub(super) fn forget(&self, id: UploadId) {
        let mut state = self.lock();
        if state.uploads.contains_key(&id) {
            state.change(id, 0, 0);
            state.uploads.remove(&id);
            state.releases += 1;
        }
    }

    /// Reserves so many bytes for a change, of the quotas in `recorded`.
    pub(super) fn reserve(
        self: &Arc<Self>,
        bytes: u64,
        recorded: &Recorded<'_>,
    ) -> Result<Reservation, Grant> {
        let mut state = self.lock();
        if state.releases != recorded.releases {
            return Err(Grant::Overtaken);
        }
        if let Some(over) = state.refusal(recorded.quotas, bytes) {
            return Err(Grant::Refused(over));
        }
        let scopes: Vec<Scope> = recorded.quotas.iter().map(|found| found.quota.scope.clone()).collect();
        for sum in state.sums.iter_mut().filter(|sum| scopes.contains(&sum.scope)) {
            sum.granted += bytes;
        }
        state.in_flight += 1;
        Ok(Reservation { in_flight: InFlight(Arc::clone(self)), scopes, bytes })
    }

    /// An upload is about to be recorded as a blob. To be held until it is forgotten here.
    pub(super) fn commit(self: &Arc<Self>) -> InFlight {
        self.lock().in_flight += 1;
        InFlight(Arc::clone(self))
    }

    /// Waits, until `deadline` at most, for something to be given back. Whether anything was since `releases`, so that
    /// what was refused may fit.
    pub(super) async fn wait_for_release(&self, releases: u64, deadline: Instant) -> bool {
        let released = self.released.notified();
        tokio::pin!(released);
        released.as_mut().enable();
        {
            let state = self.lock();
            if state.releases != releases {
                return Instant::now() < deadline;
            }
            if state.in_flight == 0 {
                return false;
            }
        }
        tokio::time::timeout_at(deadline, released).await.is_ok()
    }

    /// How often something was given back.
    pub(super) fn releases(&self) -> u64 {
        self.lock().releases
    }

    /// How many bytes uploads have that a quota holds for.
    pub(super) fn staged(&self, scope: &Scope) -> u64 {
        self.lock().sums.iter().find(|sum| sum.scope == *scope).map_or(0, |sum| sum.bytes)
    }

    /// The uploads of a scope that have any bytes.
    pub(super) fn uploads(&self, scope: &Scope) -> Vec<UploadId> {
        let state = self.lock();
        let found = state.uploads.iter().filter(|(_, upload)| upload.bytes > 0 && scope.holds(&upload.repo));
        found.map(|(id, _)| *id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What stands in the way of so many bytes more. What uploads were granted ahead is taken back first.
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

    /// How many bytes all of these quotas leave.
    fn room(&self, quotas: &[QuotaUse]) -> u64 {
        let left = quotas.iter().filter_map(|found| {
            found.quota.bytes.map(|limit| limit.saturating_sub(self.with_reserved(found).bytes))
        });
        left.min().unwrap_or(u64::MAX)
    }

    fn revoke_ahead(&mut self, scope: &Scope) {
        let ahead = |upload: &&Upload| upload.granted > upload.bytes && scope.holds(&upload.repo);
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
        for sum in self.sums.iter_mut().filter(|sum| sum.scope.holds(&upload.repo)) {
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
        state.releases += 1;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        {
            let mut state = self.0.lock();
            state.in_flight -= 1;
            state.releases += 1;
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
    fn uploads_share_what_is_left() {
        let quotas = [used("team/", 100, 40)];
        let reservations = Reservations::new(&[quota("team/", 100)]);
        let recorded = Recorded { quotas: &quotas, releases: reservations.releases() };
        let (one, other, app) = (UploadId::random(), UploadId::random(), repo("team/app"));
        assert_eq!(reservations.grow(one, &app, 50, &recorded), Grant::Done);
        let Grant::Refused(over) = reservations.grow(other, &app, 11, &recorded) else { panic!("granted") };
        assert_eq!((over.used, over.wanted, over.limit), (90, 11, 100));
        assert_eq!(reservations.grow(other, &app, 10, &recorded), Grant::Done);
        assert_eq!(reservations.staged(&over.scope), 60);
        reservations.forget(one);
        assert_eq!(reservations.grow(other, &app, 60, &recorded), Grant::Overtaken);
        let recorded = Recorded { quotas: &quotas, releases: reservations.releases() };
        assert_eq!(reservations.grow(other, &app, 60, &recorded), Grant::Done);
        assert!(reservations.reserve(1, &recorded).is_err());
    }

    #[test]
    fn an_upload_does_not_pass_a_quota_with_what_it_was_granted_ahead() {
        let limit = 100 << 20;
        let quotas = [used("", limit, 0)];
        let reservations = Reservations::new(&[quota("", limit)]);
        let recorded = Recorded { quotas: &quotas, releases: 0 };
        let (one, other) = (UploadId::random(), UploadId::random());
        assert_eq!(reservations.grow(one, &repo("a"), 1, &recorded), Grant::Done);
        assert!(reservations.covers(one, 1000));
        assert_eq!(reservations.grow(other, &repo("b"), limit - 2000, &recorded), Grant::Done);
        assert!(matches!(reservations.grow(one, &repo("a"), 2001, &recorded), Grant::Refused(_)));
        assert_eq!(reservations.grow(one, &repo("a"), 2000, &recorded), Grant::Done);
        assert_eq!(reservations.staged(&Scope::All), limit);
    }

    #[test]
    fn what_is_granted_ahead_refuses_no_one() {
        let limit = 10 << 20;
        let quotas = [used("", limit, 0)];
        let reservations = Reservations::new(&[quota("", limit)]);
        let recorded = Recorded { quotas: &quotas, releases: 0 };
        let (one, other) = (UploadId::random(), UploadId::random());
        assert_eq!(reservations.grow(one, &repo("a"), 1, &recorded), Grant::Done);
        assert!(reservations.covers(one, 1000));
        assert!(!reservations.covers(one, 1 << 20));
        assert_eq!(reservations.grow(other, &repo("b"), limit - 1000, &recorded), Grant::Done);
        assert!(!reservations.covers(one, 1001));
        assert!(reservations.covers(one, 1000));
    }

    #[test]
    fn a_change_counts_until_it_is_recorded() {
        let quotas = [used("", 100, 0), used("team/", 50, 0)];
        let reservations = Reservations::new(&[quota("", 100), quota("team/", 50)]);
        let recorded = Recorded { quotas: &quotas, releases: 0 };
        let Ok(change) = reservations.reserve(40, &recorded) else { panic!("there is room") };
        assert_eq!(reservations.staged(&Scope::All), 0);
        let Err(Grant::Refused(over)) = reservations.reserve(20, &recorded) else { panic!("granted") };
        assert_eq!(over.scope.as_str(), "team/");
        let outer = Recorded { quotas: &quotas[..1], releases: 0 };
        assert!(reservations.reserve(60, &outer).is_ok());
        drop(change);
        let recorded = Recorded { quotas: &quotas, releases: reservations.releases() };
        assert!(reservations.reserve(50, &recorded).is_ok());
    }
}
