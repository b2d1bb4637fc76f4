//! Free disk space, and whether the registry accepts a new body.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Registry, Requester, ServiceError};
use crate::store::{Space, StoreError};

/// How long a measurement of the free space is used.
const FREE_SPACE_TTL: Duration = Duration::from_millis(100);

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

/// The last measurement of the free space.
pub(super) struct SpaceGuard {
    free: AtomicU64,
    /// When it was measured, in milliseconds of the monotonic clock plus one; zero for never.
    measured_at: AtomicU64,
}

impl SpaceGuard {
    pub(super) fn new() -> Self {
        Self { free: AtomicU64::new(u64::MAX), measured_at: AtomicU64::new(0) }
    }
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
        let now = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        // Acquire and Release: a thread that sees the new time must also see the new value, even on ARM.
        let measured_at = self.space.measured_at.load(Ordering::Acquire);
        if measured_at > 0 && u128::from(now.saturating_sub(measured_at)) < FREE_SPACE_TTL.as_millis() {
            return Ok(self.space.free.load(Ordering::Relaxed));
        }
        let free = self.blobs.space().await?.free;
        self.space.free.store(free, Ordering::Relaxed);
        self.space.measured_at.store(now, Ordering::Release);
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
