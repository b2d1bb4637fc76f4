//! What the staged bytes of open uploads take, as far as this process knows.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::oci::UploadId;

/// What a file of so many bytes takes at least, where nothing has been asked of the medium.
pub(super) const BLOCK: u64 = 4096;

/// What became of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// There is room.
    Done,
    /// There is none.
    TooMuch,
    /// Something was taken off the sum meanwhile: it may have become a blob that the totals did not count yet
    /// when they were read.
    Overtaken,
}

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

    /// Lets an upload grow to so many bytes, or with `None` nothing, if all of them then take at most `left`.
    /// What was left was found out after [`Ledger::releases`] told `releases`.
    pub(super) fn grow(&self, upload: Option<(UploadId, u64)>, left: u64, releases: u64) -> Growth {
        let mut staged = self.lock();
        if staged.releases != releases {
            return Growth::Overtaken;
        }
        let Some((id, bytes)) = upload else {
            return if staged.total < left { Growth::Done } else { Growth::TooMuch };
        };
        let more =
            bytes.next_multiple_of(BLOCK).saturating_sub(staged.uploads.get(&id).copied().unwrap_or(0));
        if more > 0 && staged.total.saturating_add(more) > left {
            return Growth::TooMuch;
        }
        if more > 0 {
            staged.set(id, bytes);
        }
        Growth::Done
    }

    /// How often something was taken off the sum.
    pub(super) fn releases(&self) -> u64 {
        self.lock().releases
    }

    /// What one of them takes, in bytes.
    pub(super) fn of(&self, id: UploadId) -> u64 {
        self.lock().uploads.get(&id).copied().unwrap_or(0)
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
        let before = match bytes {
            // Who opens uploads and sends nothing takes no memory here.
            0 => self.uploads.remove(&id),
            _ => self.uploads.insert(id, bytes),
        };
        let before = before.unwrap_or(0);
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
