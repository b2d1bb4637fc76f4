//! Checks quotas ahead of the transactions that enforce them. So a body that cannot be stored is rejected early, and
//! space is reclaimed before anything is rejected.
//!
//! Idle uploads within the quota's scope end first. Then content that nothing holds any more is removed, and then the
//! oldest trash of the scope. As under the budget, leases are as short as they may be. Other scopes are not affected.

use std::time::Duration;

use tokio::time::Instant;

use super::reservations::{GrowthOutcome, Recorded, Reservation};
use super::{ClockState, Registry, ServiceError};
use crate::metadata::{CollectionRules, OverQuota, Quota, QuotaUse, Reclaimed, Scope, Target};
use crate::oci::{RepoName, UploadId};

/// How long a request waits for other changes to be recorded before it is rejected.
const MAX_WAIT: Duration = Duration::from_secs(1);

impl Registry {
    /// Records the configured quotas in the metadata store, and warns about those that are exceeded. Call it once,
    /// before the first request.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn enforce_quotas(&self) -> Result<(), ServiceError> {
        self.metadata.set_quotas(&self.settings.quotas).await?;
        for exceeded in self.quota_use(None).await?.iter().flat_map(QuotaUse::exceeded) {
            tracing::warn!(
                scope = exceeded.scope.as_str(),
                used = exceeded.used,
                limit = exceeded.limit,
                "{exceeded}"
            );
        }
        Ok(())
    }

    /// Returns the quotas that apply to `repo`, or all quotas if it is `None`, with their usage. The usage includes the
    /// bytes of open uploads.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn quota_use(&self, repo: Option<&RepoName>) -> Result<Vec<QuotaUse>, ServiceError> {
        let mut quotas = self.metadata.quotas(repo).await?;
        for found in &mut quotas {
            found.bytes = found.bytes.saturating_add(self.reservations.staged(&found.quota.scope));
        }
        Ok(quotas)
    }

    /// Returns whether a byte quota applies to `repo`, according to the settings. This needs no query.
    pub(super) fn has_byte_quota(&self, repo: &RepoName) -> bool {
        self.settings.quotas.iter().any(|quota| quota.bytes.is_some() && quota.scope.includes(repo))
    }

    /// Reserves space so that an upload to `repo` can grow to `bytes` in total.
    ///
    /// # Errors
    /// [`ServiceError::OverQuota`] if not enough space could be reclaimed.
    pub(super) async fn grow_upload(
        &self,
        id: UploadId,
        repo: &RepoName,
        bytes: u64,
    ) -> Result<(), ServiceError> {
        let mut request = SpaceRequest::new(bytes);
        loop {
            let release_count = self.reservations.release_count();
            let quotas = self.metadata.quotas(Some(repo)).await?;
            let recorded = Recorded { quotas: &quotas, release_count };
            match self.reservations.grow(id, repo, bytes, &recorded) {
                GrowthOutcome::Granted => return Ok(()),
                GrowthOutcome::Outdated => {}
                GrowthOutcome::Rejected(exceeded) => request.make_room(self, exceeded, release_count).await?,
            }
        }
    }

    /// Reserves the size of a manifest or blob that is about to be stored in `repo`. Returns `None` if nothing has to
    /// be reserved: no byte quota applies, or the content already counts there (even in the trash).
    ///
    /// # Errors
    /// [`ServiceError::OverQuota`] if not enough space could be reclaimed.
    pub(super) async fn reserve_quota(
        &self,
        repo: &RepoName,
        target: Target<'_>,
        size: u64,
    ) -> Result<Option<Reservation>, ServiceError> {
        if !self.has_byte_quota(repo) || self.metadata.is_counted(repo, target).await? {
            return Ok(None);
        }
        let mut request = SpaceRequest::new(size);
        loop {
            let release_count = self.reservations.release_count();
            let quotas = self.metadata.quotas(Some(repo)).await?;
            match self.reservations.reserve(size, &Recorded { quotas: &quotas, release_count }) {
                Ok(reservation) => return Ok(Some(reservation)),
                Err(GrowthOutcome::Rejected(exceeded)) => {
                    request.make_room(self, exceeded, release_count).await?;
                }
                Err(GrowthOutcome::Outdated | GrowthOutcome::Granted) => {}
            }
        }
    }

    /// Reserves the bytes that a rename adds to the quotas of one of the two names. The rename swaps them: the
    /// repository `from` becomes `to`, and what is left of an earlier `to` becomes `from`. Returns `None` if no byte
    /// quota applies.
    ///
    /// # Errors
    /// [`ServiceError::OverQuota`] if a quota would be exceeded.
    pub(super) async fn reserve_rename(
        &self,
        from: &RepoName,
        to: &RepoName,
    ) -> Result<Option<Reservation>, ServiceError> {
        if !self.has_byte_quota(to) && !self.has_byte_quota(from) {
            return Ok(None);
        }
        let quota_of = |name: &RepoName| Quota::of(Scope::One(name.clone()));
        let bytes: Vec<u64> = self
            .metadata
            .measure_quotas(&[quota_of(from), quota_of(to)])
            .await?
            .iter()
            .map(|found| found.bytes)
            .collect();
        let from_bytes = bytes.first().copied().unwrap_or_default();
        let to_bytes = bytes.get(1).copied().unwrap_or_default();
        let (growing, shrinking) = if from_bytes >= to_bytes { (to, from) } else { (from, to) };
        loop {
            let release_count = self.reservations.release_count();
            let mut quotas = self.metadata.quotas(Some(growing)).await?;
            quotas.retain(|found| !found.quota.scope.includes(shrinking));
            let recorded = Recorded { quotas: &quotas, release_count };
            match self.reservations.reserve(from_bytes.abs_diff(to_bytes), &recorded) {
                Ok(reservation) => return Ok(Some(reservation)),
                Err(GrowthOutcome::Rejected(exceeded)) => return Err(ServiceError::OverQuota(exceeded)),
                Err(GrowthOutcome::Outdated | GrowthOutcome::Granted) => {}
            }
        }
    }
}

/// A request for space, and the steps that were already taken to make room for it.
struct SpaceRequest {
    /// The requested size in total.
    bytes: u64,
    /// Until when it waits for other changes to be recorded.
    deadline: Instant,
    /// The steps that reclaim space.
    relief: Relief,
}

impl SpaceRequest {
    fn new(bytes: u64) -> Self {
        Self { bytes, deadline: Instant::now() + MAX_WAIT, relief: Relief::default() }
    }

    /// Makes room after a rejection, so that the caller can try again. Returns the rejection if there is nothing left
    /// to do. First waits for changes that are being recorded, because they may have counted twice.
    async fn make_room(
        &mut self,
        registry: &Registry,
        exceeded: OverQuota,
        release_count: u64,
    ) -> Result<(), ServiceError> {
        // If the content would not fit even into an empty scope, emptying the trash is pointless.
        let can_fit = self.bytes <= exceeded.limit;
        if registry.reservations.wait_for_release(release_count, self.deadline).await
            || (can_fit && self.relief.step(registry, &exceeded.scope).await?)
        {
            return Ok(());
        }
        Err(ServiceError::OverQuota(exceeded))
    }
}

/// How long an upload may be idle while something else needs the space. It is long enough for a client to continue
/// after space was reclaimed, and short enough that one push that is too large does not block all others for a day.
pub const IDLE_WHEN_FULL: Duration = Duration::from_secs(10 * 60);

/// The maximum number of manifests removed from the trash in one step.
const MAX_STEP_MANIFESTS: usize = 256;

/// How many steps in a row may free nothing: the content of the purged manifests may still be leased.
const MAX_STEPS_IN_VAIN: u32 = 3;

/// How many rows a transaction examines.
const BATCH: usize = 1000;

/// How many blobs pending deletion are removed from the disk at once.
const REMOVAL_BATCH: usize = 256;

/// The progress of reclaiming space for one request.
#[derive(Debug, Default)]
struct Relief {
    /// How many steps there have been.
    steps: u32,
    /// How many steps in a row removed nothing but manifests.
    in_vain: u32,
}

impl Relief {
    /// Removes something within the scope, if anything may be removed. Returns whether it did.
    async fn step(&mut self, registry: &Registry, scope: &Scope) -> Result<bool, ServiceError> {
        let _turn = registry.relief_lock.lock().await;
        if registry.settings.read_only || matches!(registry.clock_state().await?, ClockState::Suspect(_)) {
            return Ok(false);
        }
        self.steps += 1;
        if self.steps == 1 {
            let ended = registry.end_idle_uploads(scope).await?;
            let collected = registry.collect_below(scope, 0).await?;
            if ended > 0 || collected != Reclaimed::default() {
                return Ok(true);
            }
        }
        if self.in_vain == MAX_STEPS_IN_VAIN {
            return Ok(false);
        }
        let manifests = MAX_STEP_MANIFESTS.min(1 << (self.steps - 1).min(16));
        let relieved = registry.collect_below(scope, manifests).await?;
        self.in_vain = if relieved.links > 0 { 0 } else { self.in_vain + 1 };
        Ok(relieved != Reclaimed::default())
    }
}

impl Registry {
    /// Purges up to `trash` manifests of the scope's trash, oldest first, and removes content that becomes free.
    async fn collect_below(&self, scope: &Scope, trash: usize) -> Result<Reclaimed, ServiceError> {
        let rules = CollectionRules {
            now: self.clock.now(),
            lease: self.settings.shortest_lease(),
            trash: Duration::ZERO,
            untagged: None,
            leases_recorded_since: self.leases_recorded_since(),
        };
        let mut all = self.metadata.reclaim_now(scope, &rules, trash, BATCH).await?;
        loop {
            let more = self.metadata.reclaim_now(scope, &rules, 0, BATCH).await?;
            if more == Reclaimed::default() {
                break;
            }
            all.manifests += more.manifests;
            all.links += more.links;
        }
        self.remove_pending_blobs(REMOVAL_BATCH).await?;
        Ok(all)
    }

    /// Ends the uploads of a scope that have received nothing for a while. Returns how many.
    async fn end_idle_uploads(&self, scope: &Scope) -> Result<usize, ServiceError> {
        let mut ended = 0;
        for id in self.reservations.uploads(scope) {
            ended += usize::from(self.end_if_idle(id).await?);
        }
        Ok(ended)
    }

    async fn end_if_idle(&self, id: UploadId) -> Result<bool, ServiceError> {
        if self.sessions.is_busy(id) || self.has_unrecorded_bytes(id) {
            return Ok(false);
        }
        self.expire_upload(id, self.clock.now().minus(IDLE_WHEN_FULL)).await
    }

    /// Returns whether received bytes are not recorded yet. The time of the last byte is not recorded either in that
    /// case.
    fn has_unrecorded_bytes(&self, id: UploadId) -> bool {
        let slot = self.sessions.if_idle(id);
        slot.is_some_and(|slot| slot.as_ref().is_some_and(|upload| upload.recorded != upload.offset))
    }
}
