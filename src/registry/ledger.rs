//! The disk space taken by the staged bytes of open uploads, as far as this process knows.

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};

use crate::oci::UploadId;

/// The size to which the disk usage of a file is rounded up when the filesystem has not been asked.
pub(super) const BLOCK: u64 = 4096;

/// The outcome of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// The space is reserved.
    Granted,
    /// There is not enough space.
    Rejected,
    /// The totals that were read are outdated, because staged bytes were released meanwhile. These may have become a blob
    /// that the totals did not include yet. Read the totals again.
    Outdated,
}

/// Staged bytes by upload. An upload that has become a blob is forgotten only after the totals include the blob: for a
/// moment both count, but never neither.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Staged>);

#[derive(Default)]
struct Staged {
    uploads: HashMap<UploadId, u64>,
    total: u64,
    /// How many releases there have been.
    release_count: u64,
}

impl Ledger {
    /// Sets how many bytes of an upload are staged.
    pub(super) fn set(&self, id: UploadId, bytes: u64) {
        self.lock().set(id, bytes);
    }

    /// Removes an upload that has no staged bytes any more.
    pub(super) fn forget(&self, id: UploadId) {
        self.lock().forget(id);
    }

    /// Lets an upload grow to a number of bytes if all uploads then take at most `left`. With `None` it only checks for
    /// space. `left` must have been determined after [`Ledger::release_count`] returned `release_count`.
    pub(super) fn grow(&self, upload: Option<(UploadId, u64)>, left: u64, release_count: u64) -> Growth {
        let mut staged = self.lock();
        if staged.release_count != release_count {
            return Growth::Outdated;
        }
        let Some((id, bytes)) = upload else {
            return if staged.total < left { Growth::Granted } else { Growth::Rejected };
        };
        let more =
            bytes.next_multiple_of(BLOCK).saturating_sub(staged.uploads.get(&id).copied().unwrap_or(0));
        if more > 0 && staged.total.saturating_add(more) > left {
            return Growth::Rejected;
        }
        if more > 0 {
            staged.set(id, bytes);
        }
        Growth::Granted
    }

    /// Returns how many releases there have been.
    pub(super) fn release_count(&self) -> u64 {
        self.lock().release_count
    }

    /// Returns the disk space of one upload, in bytes.
    pub(super) fn of(&self, id: UploadId) -> u64 {
        self.lock().uploads.get(&id).copied().unwrap_or(0)
    }

    /// Returns the disk space of all uploads, in bytes.
    pub(super) fn total(&self) -> u64 {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Staged> {
        self.0.lock()
    }
}

impl Staged {
    fn set(&mut self, id: UploadId, bytes: u64) {
        let bytes = bytes.next_multiple_of(BLOCK);
        let before = match bytes {
            // Opening uploads without sending anything must not take memory here.
            0 => self.uploads.remove(&id),
            _ => self.uploads.insert(id, bytes),
        };
        let before = before.unwrap_or(0);
        self.total = self.total - before + bytes;
        self.release_count += u64::from(bytes < before);
    }

    fn forget(&mut self, id: UploadId) {
        if let Some(before) = self.uploads.remove(&id) {
            self.total -= before;
            self.release_count += 1;
        }
    }
}
