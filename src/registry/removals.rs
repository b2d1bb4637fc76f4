//! Removing the bytes that no record names any more.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::{Registry, ServiceError};
use crate::oci::Digest;

/// Whether bytes may be removed now.
#[derive(Default)]
pub(super) struct Removals(Arc<RwLock<()>>);

/// While this lives no doomed bytes are removed: what a copy of the facts names stays where it is.
pub struct HeldRemovals(#[allow(dead_code, reason = "held for its drop")] OwnedRwLockReadGuard<()>);

/// What a round of removals did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Blobs whose bytes were removed.
    pub blobs: u64,
    /// How many bytes that were.
    pub bytes: u64,
    /// Whether more are waiting.
    pub more: bool,
    /// Which digests they had.
    pub digests: Vec<Digest>,
}

impl Registry {
    /// Holds removals back, once the one that is running has ended.
    pub async fn hold_removals(&self) -> HeldRemovals {
        HeldRemovals(Arc::clone(&self.removals.0).read_owned().await)
    }

    /// Removes the bytes of up to `limit` keys on the doomed list, then forgets the keys. A crash between
    /// the two leaves a list to finish.
    ///
    /// # Errors
    /// [`ServiceError`]; what was removed until then is forgotten the next time.
    pub async fn remove_doomed(&self, limit: usize) -> Result<Removed, ServiceError> {
        let Ok(_permission) = self.removals.0.try_write() else {
            return Ok(Removed::default());
        };
        let doomed = self.metadata.doomed(limit).await?;
        let mut removed = Removed { more: doomed.len() == limit, ..Removed::default() };
        let mut keys = Vec::with_capacity(doomed.len());
        for (key, size) in doomed {
            self.blobs.remove(&key).await?;
            removed.blobs += 1;
            removed.bytes += size;
            removed.digests.push(key.digest.clone());
            keys.push(key);
        }
        if !keys.is_empty() {
            self.make_space(|| self.metadata.forget_doomed(&keys)).await?;
            self.pressure.note_freed();
        }
        Ok(removed)
    }
}
