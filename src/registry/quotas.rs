//! Checks quotas ahead of the transactions that enforce them. So a body that cannot be stored is rejected early, and
//! space is reclaimed before anything is rejected.

use std::time::Duration;

use tokio::time::Instant;

use super::relief::Relief;
use super::reservations::{GrowthOutcome, Recorded, Reservation};
use super::{Registry, ServiceError};
use crate::metadata::{OverQuota, Quota, QuotaUse, Scope, Target};
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
