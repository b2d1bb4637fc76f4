//! A reserve of disk space, so that deletes work on a full disk.

use std::sync::Arc;

use parking_lot::RwLock;

use super::Registry;
use crate::metadata::{MetadataError, Result};

/// Disk space that can be released at once.
pub trait DiskReserve: Send + Sync + 'static {
    /// Releases the space. Returns whether there was any. Blocks.
    fn release(&self) -> bool;
}

/// The reserve in use; none until one is set.
#[derive(Default)]
pub(super) struct Reserve(RwLock<Option<Arc<dyn DiskReserve>>>);

impl Registry {
    /// Sets the reserve that is released when a delete finds the disk full.
    pub fn set_disk_reserve(&self, reserve: Arc<dyn DiskReserve>) {
        *self.disk_reserve.0.write() = Some(reserve);
    }

    /// Runs a change that leads to free space. If the disk is full, the reserve is released and the change is tried
    /// once more: even a delete needs some space for its transaction.
    pub(super) async fn make_space<T, F>(&self, change: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        match change().await {
            Err(MetadataError::Full) if self.release_disk_reserve().await => change().await,
            outcome => outcome,
        }
    }

    async fn release_disk_reserve(&self) -> bool {
        let reserve = self.disk_reserve.0.read().clone();
        let Some(reserve) = reserve else { return false };
        tokio::task::spawn_blocking(move || reserve.release()).await.unwrap_or(false)
    }
}
