//! Checks quotas before the transactions that enforce them: a body that cannot be stored is rejected early, and space
//! is reclaimed before anything is rejected.

use std::time::Duration;

use tokio::time::Instant;

use super::relief::Relief;
use super::reservations::{Grant, Recorded, Reservation};
use super::{Registry, ServiceError};
use crate::metadata::{OverQuota, Quota, QuotaUse, Scope, Target};
use crate::oci::{RepoName, UploadId};

/// How long a request waits for other changes to be recorded before it is rejected.
const MAX_WAIT: Duration = Duration::from_secs(1);

impl Registry {
    /// Applies the configured quotas, and warns about those that are exceeded. Call it once, before the first request.
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

    /// Returns the quotas that apply to `repo`, or all with `None`, and their usage including the bytes of open
    /// uploads.
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

    /// Returns whether a byte quota applies to `repo`. If none does, the metadata store is not queried.
    pub(super) fn limits_bytes(&self, repo: &RepoName) -> bool {
        self.settings.quotas.iter().any(|quota| quota.bytes.is_some() && quota.scope.includes(repo))
    }

    /// Grants an upload of `repo` growth to `bytes`.
    ///
    /// # Errors
    /// [`ServiceError::OverQuota`] if not enough space could be reclaimed.
    pub(super) async fn grow_upload(
        &self,
        id: UploadId,
        repo: &RepoName,
        bytes: u64,
    ) -> Result<(), ServiceError> {
        let mut attempt = Attempt::new(bytes);
        loop {
            let releases = self.reservations.releases();
            let quotas = self.metadata.quotas(Some(repo)).await?;
            let recorded = Recorded { quotas: &quotas, releases };
            match self.reservations.grow(id, repo, bytes, &recorded) {
                Grant::Done => return Ok(()),
                Grant::Overtaken => {}
                Grant::Refused(over) => attempt.make_room(self, over, releases).await?,
            }
        }
    }

    /// Reserves the size of a manifest or blob that is about to be stored in `repo`. Content that is already there, in
    /// whatever state, adds nothing. Returns `None` if nothing has to be reserved.
    ///
    /// # Errors
    /// [`ServiceError::OverQuota`] if not enough space could be reclaimed.
    pub(super) async fn reserve_quota(
        &self,
        repo: &RepoName,
        target: Target<'_>,
        size: u64,
    ) -> Result<Option<Reservation>, ServiceError> {
        if !self.limits_bytes(repo) || self.metadata.is_counted(repo, target).await? {
            return Ok(None);
        }
        let mut attempt = Attempt::new(size);
        loop {
            let releases = self.reservations.releases();
            let quotas = self.metadata.quotas(Some(repo)).await?;
            match self.reservations.reserve(size, &Recorded { quotas: &quotas, releases }) {
                Ok(reservation) => return Ok(Some(reservation)),
                Err(Grant::Refused(over)) => attempt.make_room(self, over, releases).await?,
                Err(Grant::Overtaken | Grant::Done) => {}
            }
        }
    }

    /// Reserves the bytes by which the quotas of a name grow when the repository `from` becomes `to` and the remains of
    /// an earlier `to` become `from`. Returns `None` if no quota counts them.
    ///
    /// # Errors
    /// [`ServiceError::OverQuota`] if a quota would be exceeded.
    pub(super) async fn reserve_rename(
        &self,
        from: &RepoName,
        to: &RepoName,
    ) -> Result<Option<Reservation>, ServiceError> {
        if !self.limits_bytes(to) && !self.limits_bytes(from) {
            return Ok(None);
        }
        let of = |name: &RepoName| Quota::of(Scope::One(name.clone()));
        let bytes: Vec<u64> = self
            .metadata
            .measure_quotas(&[of(from), of(to)])
            .await?
            .iter()
            .map(|found| found.bytes)
            .collect();
        let moved = bytes.first().copied().unwrap_or_default();
        let left = bytes.get(1).copied().unwrap_or_default();
        let (grows, shrinks) = if moved >= left { (to, from) } else { (from, to) };
        loop {
            let releases = self.reservations.releases();
            let mut quotas = self.metadata.quotas(Some(grows)).await?;
            quotas.retain(|found| !found.quota.scope.includes(shrinks));
            let recorded = Recorded { quotas: &quotas, releases };
            match self.reservations.reserve(moved.abs_diff(left), &recorded) {
                Ok(reservation) => return Ok(Some(reservation)),
                Err(Grant::Refused(over)) => return Err(ServiceError::OverQuota(over)),
                Err(Grant::Overtaken | Grant::Done) => {}
            }
        }
    }
}

/// A request for space, and what has been done for it.
struct Attempt {
    /// The size it requests in total.
    bytes: u64,
    /// How long it waits for other changes.
    deadline: Instant,
    relief: Relief,
}

impl Attempt {
    fn new(bytes: u64) -> Self {
        Self { bytes, deadline: Instant::now() + MAX_WAIT, relief: Relief::default() }
    }

    /// Prepares another attempt after a rejection, or returns the rejection. Changes being recorded at the moment may
    /// have counted twice, so it waits for them first.
    async fn make_room(
        &mut self,
        registry: &Registry,
        over: OverQuota,
        releases: u64,
    ) -> Result<(), ServiceError> {
        // Something that would not fit into an empty repository is not worth emptying any trash.
        let can_fit = self.bytes <= over.limit;
        if registry.reservations.wait_for_release(releases, self.deadline).await
            || (can_fit && self.relief.step(registry, &over.scope).await?)
        {
            return Ok(());
        }
        Err(ServiceError::OverQuota(over))
    }
}
