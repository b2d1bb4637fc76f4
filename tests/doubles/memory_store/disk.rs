//! The disk of the in-memory store: its current content, and the content it would have after a power cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::oci::{BlobKey, UploadId};

/// The name of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Upload(UploadId),
    Blob(BlobKey),
}

/// A file, independent of its name: readers and writers hold it while names change.
#[derive(Default)]
pub(super) struct File(Mutex<Content>);

#[derive(Default, Clone)]
struct Content {
    volatile: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Disk {
    volatile: BTreeMap<Name, Arc<File>>,
    durable: BTreeMap<Name, Arc<File>>,
    /// How many power cuts there have been: handles opened before the last one no longer work.
    pub(super) boots: u64,
}

impl File {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock()
    }

    pub(super) fn len(&self) -> usize {
        self.content().volatile.len()
    }

    pub(super) fn truncate(&self, len: usize) {
        self.content().volatile.truncate(len);
    }

    pub(super) fn read(&self, start: usize, end: usize) -> Option<Vec<u8>> {
        self.content().volatile.get(start..end).map(<[u8]>::to_vec)
    }

    pub(super) fn write(&self, offset: usize, bytes: &[u8]) {
        let content = &mut *self.content();
        let end = offset + bytes.len();
        if content.volatile.len() < end {
            content.volatile.resize(end, 0);
        }
        content.volatile[offset..end].copy_from_slice(bytes);
    }

    pub(super) fn sync(&self) {
        let content = &mut *self.content();
        content.durable.clone_from(&content.volatile);
    }

    /// Changes a byte on the disk itself, as happens on old disks.
    pub(super) fn damage(&self) {
        let content = &mut *self.content();
        match content.volatile.first_mut() {
            Some(byte) => *byte ^= 1,
            None => content.volatile.push(0),
        }
        content.durable.clone_from(&content.volatile);
    }
}

impl Disk {
    pub(super) fn get(&self, name: &Name) -> Option<Arc<File>> {
        self.volatile.get(name).cloned()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&Name, &Arc<File>)> {
        self.volatile.iter()
    }

    pub(super) fn insert(&mut self, name: Name, file: Arc<File>) {
        self.volatile.insert(name, file);
    }

    pub(super) fn remove(&mut self, name: &Name) -> Option<Arc<File>> {
        self.volatile.remove(name)
    }

    /// Makes the presence or absence of one name durable.
    pub(super) fn sync_name(&mut self, name: &Name) {
        match self.volatile.get(name) {
            Some(file) => self.durable.insert(name.clone(), Arc::clone(file)),
            None => self.durable.remove(name),
        };
    }

    /// Discards every byte and name that was not synced.
    pub(super) fn power_cut(&mut self) {
        self.boots += 1;
        for file in self.durable.values() {
            let content = &mut *file.content();
            content.volatile.clone_from(&content.durable);
        }
        self.volatile.clone_from(&self.durable);
    }
}
