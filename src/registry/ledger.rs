//! What the staged bytes of open uploads take, as far as this process knows.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::oci::UploadId;

/// What a file of so many bytes takes at least, where nothing has been asked of the medium.
const BLOCK: u64 = 4096;

/// Staged bytes by upload. An upload whose bytes have become a blob's is forgotten after the totals count
/// the blob: for a moment both do, and never neither.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Staged>);

#[derive(Default)]
struct Staged {
    uploads: HashMap<UploadId, u64>,
    total: u64,
    /// How often something was taken off the sum.
    releases: u64,
}

impl Ledger {
    /// Says how many bytes of an upload are staged.
    pub(super) fn set(&self, id: UploadId, bytes: u64) {
        self.lock().set(id, bytes);
    }

    /// An upload has no staged bytes any more.
    pub(super) fn forget(&self, id: UploadId) {
        self.lock().forget(id);
    }

    /// What all of them take, in bytes.
    pub(super) fn total(&self) -> u64 {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Staged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Staged {
    fn set(&mut self, id: UploadId, bytes: u64) {
        let bytes = bytes.next_multiple_of(BLOCK);
        let before = self.uploads.insert(id, bytes).unwrap_or(0);
        self.total = self.total - before + bytes;
        self.releases += u64::from(bytes < before);
    }

    fn forget(&mut self, id: UploadId) {
        if let Some(before) = self.uploads.remove(&id) {
            self.total -= before;
            self.releases += 1;
        }
    }
}
