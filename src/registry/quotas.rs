//! Quotas, where they are looked at before the transactions that keep them: a body is not taken to its end
//! when it is clear that it cannot be kept, and room is made before anything is refused.

use std::time::Duration;

use tokio::time::Instant;

use super::relief::Relief;
use super::reservations::{Grant, Recorded, Reservation};
use super::{Registry, ServiceError};
use crate::metadata::{OverQuota, Quota, QuotaUse, Scope, Target};
use crate::oci::{RepoName, UploadId};

/// How long a request waits for changes of others to be recorded before it is refused.
const MAX_WAIT: Duration = Duration::from_secs(1);

impl Registry {
    /// Makes the quotas of the settings those that hold, and warns of those that are exceeded. To be called once,
    /// before the first request.
    ///
    /// # Errors
    /// [`ServiceError`].
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

    /// The quotas that hold for `repo`, or with `None` all, and what is used of them, the bytes of open uploads
    /// included.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn quota_use(&self, repo: Option<&RepoName>) -> Result<Vec<QuotaUse>, ServiceError> {
        let mut quotas = self.metadata.quotas(repo).await?;
        for found in &mut quotas {
            found.bytes = found.bytes.saturating_add(self.reservations.staged(&found.quota.scope));
        }
        Ok(quotas)
    }

    /// Whether a quota of bytes holds for `repo`. Where none does, nothing is asked.
    pub(super) fn limits_bytes(&self, repo: &RepoName) -> bool {
        self.settings.quotas.iter().any(|quota| quota.bytes.is_some() && quota.scope.holds(repo))
    }

    /// Lets an upload of `repo` grow to so many bytes.
    ///
    /// # Errors
    /// [`ServiceError::OverQuota`] if no room could be made for it.
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

    /// Reserves the size of a manifest or blob that is about to be stored in `repo`. One that is there in whatever
    /// state adds nothing. `None` where nothing has to be reserved.
    ///
    /// # Errors
    /// [`ServiceError::OverQuota`] if no room could be made for it.
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

    /// Reserves the bytes by which a name's quotas grow when the repository `from` becomes `to` and what is left of an
    /// earlier `to` becomes `from`. `None` where no quota counts them.
    ///
    /// # Errors
    /// [`ServiceError::OverQuota`].
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
        let (moved, left) =
            (bytes.first().copied().unwrap_or_default(), bytes.get(1).copied().unwrap_or_default());
        let (grows, shrinks) = if moved >= left { (to, from) } else { (from, to) };
        loop {
            let releases = self.reservations.releases();
            let mut quotas = self.metadata.quotas(Some(grows)).await?;
            quotas.retain(|found| !found.quota.scope.holds(shrinks));
            let recorded = Recorded { quotas: &quotas, releases };
            match self.reservations.reserve(moved.abs_diff(left), &recorded) {
                Ok(reservation) => return Ok(Some(reservation)),
                Err(Grant::Refused(over)) => return Err(ServiceError::OverQuota(over)),
                Err(Grant::Overtaken | Grant::Done) => {}
            }
        }
    }
}

/// One request for room, and what was done for it.
struct Attempt {
    /// How much it wants in all.
    bytes: u64,
    /// Until when it waits for others.
    deadline: Instant,
    relief: Relief,
}

impl Attempt {
    fn new(bytes: u64) -> Self {
        Self { bytes, deadline: Instant::now() + MAX_WAIT, relief: Relief::default() }
    }

    /// Makes it worth while to ask again after a refusal, or passes that on. What is being recorded just now may have
    /// counted twice.
    async fn make_room(
        &mut self,
        registry: &Registry,
        over: OverQuota,
        releases: u64,
    ) -> Result<(), ServiceError> {
        // What would not fit into an empty repository is not worth any trash.
        let can_fit = self.bytes <= over.limit;
        if registry.reservations.wait_for_release(releases, self.deadline).await
            || (can_fit && self.relief.step(registry, &over.scope).await?)
        {
            return Ok(());
        }
        Err(ServiceError::OverQuota(over))
    }
}
