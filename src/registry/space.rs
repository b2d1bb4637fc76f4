//! Disk space: what is stored, what is free, and whether the registry accepts a new body. Space for its bytes is
//! reserved in the budget; a writer waits for it until jobs have reclaimed enough or its time is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::budget::{BudgetLevel, BudgetSettings, BudgetSize, BudgetState, Growth, Pressure, Requester};
use super::{DiskReserve, Registry, ServiceError};
use crate::metadata::{self, MetadataError, Totals};
use crate::oci::UploadId;
use crate::store::{Space, StoreError, StoredItem};

/// How long a measurement of the free space is used.
const FREE_SPACE_TTL: Duration = Duration::from_millis(100);

/// How long the cached size of the directories and the disk is used.
const DISK_USAGE_TTL: Duration = Duration::from_secs(10);

/// How long an upload must have received nothing to be named as idle in an error.
const IDLE_UPLOAD: Duration = Duration::from_secs(60);

/// How many idle uploads are examined for an error.
const MAX_IDLE_UPLOADS: usize = 1000;

/// The state of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceState {
    /// There is enough space.
    Ample,
    /// Space is running out.
    Low,
    /// No new bodies are accepted.
    Full,
}

impl Registry {
    /// Measures the space of the disk.
    ///
    /// # Errors
    /// Fails if the blob store cannot be read.
    pub async fn space(&self) -> Result<Space, StoreError> {
        self.blobs.space().await
    }

    /// Returns the state of the disk, as of a moment ago.
    ///
    /// # Errors
    /// Fails if the blob store cannot be read.
    pub async fn space_state(&self) -> Result<SpaceState, StoreError> {
        let free = self.free().await?;
        Ok(match free {
            _ if free < self.settings.min_free => SpaceState::Full,
            _ if free < self.settings.warn_free => SpaceState::Low,
            _ => SpaceState::Ample,
        })
    }

    async fn free(&self) -> Result<u64, StoreError> {
        let now = self.clock.elapsed();
        if let Some(free) = self.free_space.get(now, FREE_SPACE_TTL) {
            return Ok(free);
        }
        let free = self.blobs.space().await?.free;
        self.free_space.set(now, free);
        Ok(free)
    }

    /// Checks whether a body may be received: the registry is writable, and disk and budget have space.
    pub(super) async fn admit_body(&self, requester: &Requester) -> Result<(), ServiceError> {
        self.admit_space().await?;
        self.reserve(requester, None).await
    }

    /// Checks the same except for the budget, for a body whose part of the budget is already reserved.
    pub(super) async fn admit_space(&self) -> Result<(), ServiceError> {
        self.admit_change()?;
        if self.space_state().await? == SpaceState::Full {
            let reason = format!(
                "less than {} bytes are free (storage.min_free); pulls and deletes still work",
                self.settings.min_free
            );
            return Err(ServiceError::Full(reason));
        }
        Ok(())
    }

    /// Checks whether anything may be changed.
    pub(super) fn admit_change(&self) -> Result<(), ServiceError> {
        if self.settings.read_only { Err(ServiceError::ReadOnly) } else { Ok(()) }
    }
}

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

    /// Returns the size of the directories and of the disk, as of a moment ago.
    async fn disk_usage(&self) -> Result<(u64, u64), ServiceError> {
        let now = self.clock.elapsed();
        if let Some(usage) = self.disk_usage.get(now, DISK_USAGE_TTL) {
            return Ok(usage);
        }
        let directories = self.blobs.allocated(StoredItem::Directories).await?;
        let disk = self.blobs.space().await?.total;
        self.disk_usage.set(now, (directories, disk));
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

/// How many blobs are measured in one step.
const MEASURE_BATCH: usize = 256;

/// Disk usage in bytes. Blobs, blobs pending deletion and directories together are the blob tree, as of the last
/// committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Blobs.
    pub blobs: u64,
    /// Blobs pending deletion: nothing names them any more, and their bytes are about to be removed.
    pub pending_deletion: u64,
    /// The directories the blobs lie in.
    pub directories: u64,
    /// The bytes received by open uploads.
    pub staged: u64,
    /// The database and its log.
    pub database: u64,
}

impl Stored {
    /// Returns the sum of all parts.
    pub fn total(&self) -> u64 {
        self.blobs + self.pending_deletion + self.directories + self.staged + self.database
    }
}

impl Registry {
    /// Measures the disk usage.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn stored(&self) -> Result<Stored, ServiceError> {
        let totals = self.metadata.totals().await?;
        self.stored_with(&totals).await
    }

    /// Measures the disk usage, with blobs as in `totals`.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn stored_with(&self, totals: &Totals) -> Result<Stored, ServiceError> {
        let mut staged = 0;
        for (id, _) in self.blobs.list(None).await?.uploads {
            staged += self.blobs.allocated(StoredItem::Upload(id)).await?;
        }
        let directories = self.blobs.allocated(StoredItem::Directories).await?;
        let database = self.metadata.own_size().await?;
        Ok(Stored {
            blobs: totals.blob_allocated,
            pending_deletion: totals.pending_deletion_allocated,
            directories,
            staged,
            database,
        })
    }

    /// Measures some blobs whose disk usage is only estimated. Returns whether more are waiting.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn measure_blobs(&self) -> Result<bool, ServiceError> {
        if self.settings.read_only {
            return Ok(false);
        }
        let blobs = self.metadata.unmeasured(MEASURE_BATCH).await?;
        let more = blobs.len() == MEASURE_BATCH;
        let mut measured = Vec::with_capacity(blobs.len());
        for blob in blobs {
            match self.blobs.allocated(StoredItem::Blob(&blob.key)).await {
                Ok(allocated) => measured.push((blob.key, allocated)),
                // Lost bytes take no space; `fsck` reports them.
                Err(StoreError::NotFound) => measured.push((blob.key, 0)),
                Err(error) => return Err(error.into()),
            }
        }
        if !measured.is_empty() {
            self.metadata.record_allocated(measured).await?;
        }
        Ok(more)
    }
}

impl Registry {
    /// Sets the reserve that is released when a delete finds the disk full.
    pub fn set_disk_reserve(&self, reserve: Arc<dyn DiskReserve>) {
        *self.disk_reserve.write() = Some(reserve);
    }

    /// Runs a change that leads to free space. If the disk is full, the reserve is released and the change is tried
    /// once more: even a delete needs some space for its transaction.
    pub(super) async fn make_space<T, F>(&self, change: impl Fn() -> F) -> metadata::Result<T>
    where
        F: Future<Output = metadata::Result<T>>,
    {
        match change().await {
            Err(MetadataError::Full) if self.release_disk_reserve().await => change().await,
            outcome => outcome,
        }
    }

    async fn release_disk_reserve(&self) -> bool {
        let reserve = self.disk_reserve.read().clone();
        let Some(reserve) = reserve else { return false };
        tokio::task::spawn_blocking(move || reserve.release()).await.unwrap_or(false)
    }
}
