//! Brings files of another registry's tree into the store.
//!
//! A hard-linked file belongs to both trees. The store never changes such a file: blobs are only read and unlinked, and
//! the staged bytes of an upload, the only files that are opened for writing, are rejected if they have another name
//! (`open_staged`). Adopted keys are in no upload's intent, so that no blob of them is ever staged again.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use super::durable;
use super::staged::rename;
use super::tree::{BLOCK, Tree};
use crate::oci::{BlobKey, Hasher, UploadId};
use crate::store::{AdoptError, AdoptedFile, Adoption, StoreError};

/// A file that was written less than this ago may not be on the disk yet: it is synced before it is recorded.
const RECENT: Duration = Duration::from_secs(10 * 60);

/// The number of bytes that are copied at once.
const COPY_BYTES: usize = 1 << 20;

impl Tree {
    /// Implements [`crate::store::BlobStore::adopt`]. Blocks.
    pub(super) fn adopt(&self, from: &Path, key: &BlobKey, how: Adoption) -> Result<AdoptedFile, AdoptError> {
        let found = fs::symlink_metadata(from).map_err(explain)?;
        if !found.is_file() {
            return Err(AdoptError::NotAFile);
        }
        self.shards.ensure(&self.layout, key).map_err(StoreError::from)?;
        let place = self.layout.blob(key);
        match how {
            Adoption::Hardlink => {
                fs::hard_link(from, &place).map_err(explain)?;
                sync_if_recent(&place, &found)?;
            }
            Adoption::Copy => self.copy(from, key, &place)?,
        }
        let placed = fs::symlink_metadata(&place).map_err(StoreError::from)?;
        let allocated = placed.blocks() * BLOCK;
        Ok(AdoptedFile { size: placed.len(), allocated, links: placed.nlink() })
    }

    /// Copies a file through a staged file. The next start discards it if the copy is interrupted.
    fn copy(&self, from: &Path, key: &BlobKey, place: &Path) -> Result<(), AdoptError> {
        let mut source = File::open(from).map_err(explain)?;
        let draft = self.layout.upload(UploadId::random());
        let copied = copy_verified(&mut source, &draft, key).and_then(|()| Ok(rename(&draft, place)?));
        if copied.is_err() {
            let _ = self.unlink(&draft);
        }
        Ok(copied?)
    }

    /// Implements [`crate::store::BlobStore::sync_adopted`]. Blocks.
    pub(super) fn sync_adopted(&self, keys: &[BlobKey]) -> Result<(), StoreError> {
        let directories: BTreeSet<_> = keys.iter().map(|key| self.layout.shard(key)).collect();
        Ok(directories.iter().try_for_each(|directory| durable::sync_dir(directory))?)
    }

    /// Implements [`crate::store::BlobStore::links`]. Blocks.
    pub(super) fn links(&self, key: &BlobKey) -> Result<u64, StoreError> {
        match fs::symlink_metadata(self.layout.blob(key)) {
            Ok(found) => Ok(found.nlink()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing(StoreError::NotFound)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Copies a file durably and checks its digest.
fn copy_verified(source: &mut File, draft: &Path, key: &BlobKey) -> Result<(), StoreError> {
    let mut hasher = Hasher::new(key.digest.algorithm());
    let mut copy = File::create_new(draft)?;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        hasher.update(&buffer[..read]);
        copy.write_all(&buffer[..read])?;
    }
    let actual = hasher.finish();
    if actual != key.digest {
        return Err(StoreError::Damaged(format!("its bytes hash to {actual}")));
    }
    Ok(copy.sync_data()?)
}

/// Syncs the content of a file that was written recently. Older content is on the disk already.
fn sync_if_recent(place: &Path, found: &Metadata) -> Result<(), AdoptError> {
    // A time that is unknown or in the future counts as recent.
    let is_old = found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > RECENT));
    if is_old {
        return Ok(());
    }
    let synced =
        File::open(place).map_err(explain).and_then(|file| Ok(file.sync_data().map_err(StoreError::from)?));
    if synced.is_err() {
        let _ = durable::remove(place);
    }
    synced
}

/// Finds out why a file can't be linked or read.
fn explain(error: io::Error) -> AdoptError {
    match Errno::from_io_error(&error) {
        Some(Errno::PERM) => AdoptError::NotPermitted(error),
        Some(Errno::XDEV) => AdoptError::OtherFilesystem(error),
        Some(Errno::ACCESS) => AdoptError::AccessDenied(error),
        Some(Errno::MLINK) => AdoptError::TooManyLinks(error),
        Some(Errno::NOENT) => AdoptError::NotFound,
        _ => StoreError::from(error).into(),
    }
}
