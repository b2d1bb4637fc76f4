//! Removes the bytes of blobs that no record names any more.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::{Registry, ServiceError};
use crate::oci::Digest;

/// Whether bytes may be removed now.
#[derive(Default)]
pub(super) struct Removals(Arc<RwLock<()>>);

/// While this value lives, no bytes are removed: everything a copy of the metadata names stays in the store.
pub struct RemovalPause(#[expect(dead_code, reason = "held for its drop")] OwnedRwLockReadGuard<()>);

/// The result of a round of removals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many blobs were removed.
    pub blobs: u64,
    /// How many bytes they had.
    pub bytes: u64,
    /// Whether more are waiting.
    pub more: bool,
    /// The digests of the removed blobs.
    pub digests: Vec<Digest>,
}

impl Registry {
    /// Pauses removals. Waits for a running one to end.
    pub async fn pause_removals(&self) -> RemovalPause {
        RemovalPause(Arc::clone(&self.removals.0).read_owned().await)
    }

    /// Removes the bytes of up to `limit` blobs that are pending deletion, then their entries. A crash between the two
    /// leaves entries for the next call.
    ///
    /// # Errors
    /// Fails if a store fails; the next call also handles the blobs removed by this one.
    pub async fn remove_pending_blobs(&self, limit: usize) -> Result<Removed, ServiceError> {
        let Ok(_permission) = self.removals.0.try_write() else {
            return Ok(Removed::default());
        };
        let pending = self.metadata.pending_deletions(limit).await?;
        let mut removed = Removed { more: pending.len() == limit, ..Removed::default() };
        let mut keys = Vec::with_capacity(pending.len());
        for (key, size) in pending {
            self.blobs.remove(&key).await?;
            removed.blobs += 1;
            removed.bytes += size;
            removed.digests.push(key.digest.clone());
            keys.push(key);
        }
        if !keys.is_empty() {
            self.make_space(|| self.metadata.forget_pending_deletions(&keys)).await?;
            self.pressure.record_freed();
        }
        Ok(removed)
    }
}
