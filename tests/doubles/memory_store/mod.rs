//! A blob store in memory, for tests. It distinguishes *volatile* and *durable* content, so that a test can cut the
//! power ([`MemoryStore::power_cut`]) between any two steps and check the result.
//!
//! Content becomes durable as on a journaling filesystem at least. A sync makes the bytes of a file durable, and its
//! name the first time. A publish makes bytes and name durable, and removes the old name in the same commit. Removing
//! and discarding do not sync: such a name reappears after a power cut.

mod disk;
mod staged;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use parking_lot::{Mutex, MutexGuard};

use self::disk::{Disk, File, Name};
use super::upload_locks::{UploadLocks, closed};
use super::{
    AdoptError, AdoptedFile, Adoption, BlobStore, ByteStream, Content, ExportMethod, Listing, Space,
    StagedBytes, StoreError, StoredItem,
};
use crate::oci::{BlobKey, Hasher, UploadId};

/// Ranges up to this many bytes are returned as a whole.
const MAX_WHOLE: usize = 64 << 10;

/// The length of the pieces of a longer range.
const PIECE: usize = 32 << 10;

/// How many blobs and uploads are on a page of the listing.
const PAGE_ITEMS: usize = 16;

/// A store in memory. Clones share one medium, like handles of one open store.
#[derive(Clone)]
pub struct MemoryStore {
    medium: Arc<Medium>,
    locks: Arc<UploadLocks<staged::Staged>>,
}

#[derive(Default)]
struct Medium {
    disk: Mutex<Disk>,
    vanished: AtomicBool,
    torn_publish: AtomicBool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::on(Arc::default())
    }

    fn on(medium: Arc<Medium>) -> Self {
        Self { medium, locks: Arc::new(UploadLocks::new()) }
    }

    /// Opens the same medium again, as a new process would without a power cut.
    pub fn reopened(&self) -> Self {
        Self::on(Arc::clone(&self.medium))
    }

    /// Cuts the power: every byte and name that was not synced is lost, and no staged handle works any more.
    pub fn power_cut(&self) {
        self.medium.disk().power_cut();
    }

    /// Removes the medium or brings it back. Without it nothing can be read, removed or listed.
    pub fn set_vanished(&self, vanished: bool) {
        self.medium.vanished.store(vanished, Ordering::SeqCst);
    }

    /// Interrupts each publish from now on: the name is durable, the bytes are not, and an error is returned. Followed
    /// by [`MemoryStore::power_cut`], this is the worst state a crash can leave.
    pub fn set_torn_publish(&self, torn: bool) {
        self.medium.torn_publish.store(torn, Ordering::SeqCst);
    }

    /// Damages the bytes of a blob on the medium; their number changes only if there are none. Returns `false` if there
    /// is no such blob.
    pub fn damage(&self, key: &BlobKey) -> bool {
        let file = self.medium.disk().get(&Name::Blob(key.clone()));
        file.inspect(|file| file.damage()).is_some()
    }

    /// Removes the bytes of a blob without the registry's knowledge. Returns `false` if there is no such blob.
    pub fn lose(&self, key: &BlobKey) -> bool {
        let name = Name::Blob(key.clone());
        let mut disk = self.medium.disk();
        let lost = disk.remove(&name).is_some();
        disk.sync_name(&name);
        lost
    }

    /// Returns the keys of all blobs with bytes, sorted.
    pub fn keys(&self) -> Vec<BlobKey> {
        let blob = |name: &Name| match name {
            Name::Blob(key) => Some(key.clone()),
            Name::Upload(_) => None,
        };
        self.medium.disk().names().filter_map(|(name, _)| blob(name)).collect()
    }

    /// Returns all uploads with staged bytes, sorted.
    pub fn uploads(&self) -> Vec<UploadId> {
        let upload = |name: &Name| match name {
            Name::Upload(upload) => Some(*upload),
            Name::Blob(_) => None,
        };
        self.medium.disk().names().filter_map(|(name, _)| upload(name)).collect()
    }

    /// Returns the current bytes of a blob.
    pub fn bytes(&self, key: &BlobKey) -> Option<Vec<u8>> {
        let file = self.medium.disk().get(&Name::Blob(key.clone()))?;
        file.read(0, file.len())
    }
}

impl Medium {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock()
    }

    fn present(&self) -> Result<(), StoreError> {
        match self.vanished.load(Ordering::SeqCst) {
            true => Err(StoreError::Vanished("removed by a test".into())),
            false => Ok(()),
        }
    }

    fn sized(&self, key: &BlobKey, size: u64) -> Result<Arc<File>, StoreError> {
        let file = self.disk().get(&Name::Blob(key.clone())).ok_or(StoreError::NotFound)?;
        if file.len() as u64 != size {
            return Err(StoreError::Damaged(format!("{} has {} bytes, not {size}", key.digest, file.len())));
        }
        Ok(file)
    }

    fn publish(&self, upload: UploadId, key: &BlobKey) -> Result<u64, StoreError> {
        let staged = Name::Upload(upload);
        let place = Name::Blob(key.clone());
        let mut disk = self.disk();
        let file = disk.get(&staged).ok_or(StoreError::NotFound)?;
        move_name(&mut disk, &file, &staged, &place)?;
        if self.torn_publish.load(Ordering::SeqCst) {
            return Err(StoreError::Io(io::Error::other("publish interrupted by a test")));
        }
        file.sync();
        Ok(file.len() as u64)
    }

    fn unpublish(&self, upload: UploadId, key: &BlobKey) -> Result<bool, StoreError> {
        let staged = Name::Upload(upload);
        let place = Name::Blob(key.clone());
        let mut disk = self.disk();
        let Some(file) = disk.get(&place) else {
            return Ok(false);
        };
        move_name(&mut disk, &file, &place, &staged)?;
        Ok(true)
    }
}

/// Renames a file durably, without replacing another.
fn move_name(disk: &mut Disk, file: &Arc<File>, from: &Name, to: &Name) -> Result<(), StoreError> {
    if disk.get(to).is_some() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
    }
    disk.remove(from);
    disk.insert(to.clone(), Arc::clone(file));
    disk.sync_name(from);
    disk.sync_name(to);
    Ok(())
}

#[async_trait]
impl BlobStore for MemoryStore {
    async fn stage(&self, upload: UploadId, len: u64) -> Result<Arc<dyn StagedBytes>, StoreError> {
        self.medium.present()?;
        let mut guard = self.locks.acquire(upload).await;
        guard.close(closed::RESTAGED);
        staged::open(&self.medium, guard, upload, len)
    }

    async fn publish(&self, upload: UploadId, key: &BlobKey) -> Result<u64, StoreError> {
        self.medium.present()?;
        self.locks.acquire(upload).await.close(closed::PUBLISHED);
        self.medium.publish(upload, key)
    }

    async fn unpublish(&self, upload: UploadId, key: &BlobKey) -> Result<bool, StoreError> {
        self.medium.present()?;
        let _guard = self.locks.acquire(upload).await;
        self.medium.unpublish(upload, key)
    }

    async fn discard(&self, upload: UploadId) -> Result<(), StoreError> {
        self.medium.present()?;
        self.locks.acquire(upload).await.close(closed::DISCARDED);
        self.medium.disk().remove(&Name::Upload(upload));
        Ok(())
    }

    async fn read(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Content, StoreError> {
        self.medium.present()?;
        let bytes = read(self.medium.sized(key, size)?.as_ref(), &range)?;
        match bytes.len() {
            0..=MAX_WHOLE => Ok(Content::Whole(bytes)),
            _ => Ok(Content::Stream(pieces(bytes))),
        }
    }

    async fn inspect(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.medium.present()?;
        read(self.medium.sized(key, size)?.as_ref(), &range)
    }

    async fn export(
        &self,
        key: &BlobKey,
        size: u64,
        to: &Path,
        _: ExportMethod,
    ) -> Result<ExportMethod, StoreError> {
        self.medium.present()?;
        let bytes = read(self.medium.sized(key, size)?.as_ref(), &(0..size))?;
        let mut file = std::fs::File::create_new(to).map_err(StoreError::Io)?;
        io::Write::write_all(&mut file, &bytes).map_err(StoreError::Io)?;
        Ok(ExportMethod::Copy)
    }

    async fn adopt(&self, from: &Path, key: &BlobKey, how: Adoption) -> Result<AdoptedFile, AdoptError> {
        self.medium.present()?;
        let content = std::fs::read(from).map_err(StoreError::from)?;
        let actual = Hasher::digest(key.digest.algorithm(), &content);
        if how == Adoption::Copy && actual != key.digest {
            return Err(StoreError::Damaged(format!("its bytes hash to {actual}")).into());
        }
        let size = content.len() as u64;
        let file = Arc::<File>::default();
        file.write(0, &content);
        file.sync();
        self.medium.disk().insert(Name::Blob(key.clone()), file);
        Ok(AdoptedFile { size, allocated: size, links: if how == Adoption::Copy { 1 } else { 2 } })
    }

    async fn sync_adopted(&self, keys: &[BlobKey]) -> Result<(), StoreError> {
        let mut disk = self.medium.disk();
        keys.iter().for_each(|key| disk.sync_name(&Name::Blob(key.clone())));
        Ok(())
    }

    async fn links(&self, key: &BlobKey) -> Result<u64, StoreError> {
        let found = self.medium.disk().get(&Name::Blob(key.clone()));
        found.map(|_| 1).ok_or(StoreError::NotFound)
    }

    async fn remove(&self, key: &BlobKey) -> Result<(), StoreError> {
        self.medium.present()?;
        self.medium.disk().remove(&Name::Blob(key.clone()));
        Ok(())
    }

    async fn space(&self) -> Result<Space, StoreError> {
        self.medium.present()?;
        Ok(Space { total: 1 << 40, free: 1 << 39 })
    }

    async fn allocated(&self, of: StoredItem<'_>) -> Result<u64, StoreError> {
        self.medium.present()?;
        let disk = self.medium.disk();
        let len = |name| disk.get(&name).map(|file| file.len() as u64);
        match of {
            StoredItem::Blob(key) => len(Name::Blob(key.clone())).ok_or(StoreError::NotFound),
            StoredItem::Upload(upload) => Ok(len(Name::Upload(upload)).unwrap_or(0)),
            StoredItem::Directories => Ok(0),
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.medium.present()
    }

    async fn list(&self, from: Option<&str>) -> Result<Listing, StoreError> {
        self.medium.present()?;
        let start: usize = from.unwrap_or("0").parse().map_err(io::Error::other)?;
        let disk = self.medium.disk();
        let mut listing = Listing::default();
        for (name, file) in disk.names().skip(start).take(PAGE_ITEMS) {
            match name {
                Name::Upload(upload) => listing.uploads.push((*upload, file.len() as u64)),
                Name::Blob(key) => listing.blobs.push((key.clone(), file.len() as u64)),
            }
        }
        listing.next = (disk.names().count() > start + PAGE_ITEMS).then(|| (start + PAGE_ITEMS).to_string());
        Ok(listing)
    }
}

fn read(file: &File, range: &Range<u64>) -> Result<Bytes, StoreError> {
    let start = usize::try_from(range.start);
    let end = usize::try_from(range.end);
    let bytes = start.ok().zip(end.ok()).and_then(|(start, end)| file.read(start, end));
    match bytes {
        Some(bytes) => Ok(bytes.into()),
        None => Err(io::Error::from(io::ErrorKind::InvalidInput).into()),
    }
}

fn pieces(mut bytes: Bytes) -> ByteStream {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        pieces.push(Ok(bytes.split_to(bytes.len().min(PIECE))));
    }
    Box::pin(stream::iter(pieces))
}
