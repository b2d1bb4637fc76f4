//! How much room is left, and whether a new body may be taken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Registry, Requester, ServiceError};
use crate::store::{Space, StoreError};

/// How old a look at the disk may be.
const FRESH: Duration = Duration::from_millis(100);

/// How the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceState {
    /// There is room.
    Ample,
    /// There is room, but not for long.
    Low,
    /// No new bodies are taken.
    Full,
}

/// The last look at the disk.
pub(super) struct SpaceGuard {
    free: AtomicU64,
    /// When that was, in milliseconds of the monotonic clock and one more; zero for never.
    looked_at: AtomicU64,
}

impl SpaceGuard {
    pub(super) fn new() -> Self {
        Self { free: AtomicU64::new(u64::MAX), looked_at: AtomicU64::new(0) }
    }
}

impl Registry {
    /// Room on the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn space(&self) -> Result<Space, StoreError> {
        self.blobs.space().await
    }

    /// How the disk is, as of a moment ago.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn space_state(&self) -> Result<SpaceState, StoreError> {
        let free = self.free().await?;
        Ok(match free {
            _ if free < self.settings.min_free => SpaceState::Full,
            _ if free < self.settings.warn_free => SpaceState::Low,
            _ => SpaceState::Ample,
        })
    }

    async fn free(&self) -> Result<u64, StoreError> {
        let now = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let looked_at = self.space.looked_at.load(Ordering::Relaxed);
        if looked_at > 0 && u128::from(now.saturating_sub(looked_at)) < FRESH.as_millis() {
            return Ok(self.space.free.load(Ordering::Relaxed));
        }
        let free = self.blobs.space().await?.free;
        self.space.free.store(free, Ordering::Relaxed);
        self.space.looked_at.store(now, Ordering::Relaxed);
        Ok(free)
    }

    /// Whether a body may be taken: the registry may be written, and disk and budget have room.
    pub(super) async fn admit_body(&self, requester: &Requester) -> Result<(), ServiceError> {
        self.admit_space().await?;
        self.reserve(requester, None).await
    }

    /// The same apart from the budget, for a body that has its reservation.
    pub(super) async fn admit_space(&self) -> Result<(), ServiceError> {
        self.admit_change()?;
        if self.space_state().await? == SpaceState::Full {
            let reason = format!(
                "less than {} bytes are free (storage.min_free); pulls and deletes go on",
                self.settings.min_free
            );
            return Err(ServiceError::Full(reason));
        }
        Ok(())
    }

    /// Whether anything may be changed.
    pub(super) fn admit_change(&self) -> Result<(), ServiceError> {
        if self.settings.read_only { Err(ServiceError::ReadOnly) } else { Ok(()) }
    }
}
