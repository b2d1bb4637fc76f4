//! Moves staged bytes to the path of their blob, and back.
//!
//! The order is: rename, sync of the file, sync of its new directory. Renaming first is safe because no record names
//! the path until both syncs have returned. It costs one commit of the filesystem's journal, where syncing first would
//! cost two. The old directory needs no sync. If the old name reappears after a power cut, it belongs to an upload
//! without a row, or to one whose row names the new path. [`crate::store::BlobStore::discard`] or
//! [`crate::store::BlobStore::unpublish`] cleans up both.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::durable;
use super::tree::Tree;
use crate::oci::{BlobKey, UploadId};
use crate::store::StoreError;

impl Tree {
    /// Publishes the bytes of an upload. `file` is the file they were written through, if it is still open. It is
    /// closed before its disk usage is measured: only then do some filesystems release space reserved for more bytes.
    pub(super) fn publish(
        &self,
        upload: UploadId,
        key: &BlobKey,
        file: Option<Arc<File>>,
    ) -> Result<u64, StoreError> {
        let place = self.layout.blob(key);
        self.move_to_place(upload, key, &place)?;
        if let Err(error) = self.sync_placed(key, &place, file) {
            // Bytes that failed to become durable are discarded, never synced again. If that fails as well, the upload
            // still names the path, and its cleanup removes it.
            let _ = self.unlink(&place);
            return Err(error.into());
        }
        self.allocated(place)
    }

    fn move_to_place(&self, upload: UploadId, key: &BlobKey, place: &Path) -> Result<(), StoreError> {
        let staged = self.layout.upload(upload);
        self.shards.ensure(&self.layout, key).map_err(|error| self.explain(error))?;
        match rename(&staged, place) {
            // Either name may be missing: someone may have removed an empty directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.shards.forget(key);
                self.shards.ensure(&self.layout, key).map_err(|error| self.explain(error))?;
                rename(&staged, place).map_err(|error| self.explain(error))
            }
            result => Ok(result?),
        }
    }

    fn sync_placed(&self, key: &BlobKey, place: &Path, file: Option<Arc<File>>) -> io::Result<()> {
        match file {
            Some(file) => file.sync_data()?,
            None => File::open(place)?.sync_data()?,
        }
        durable::sync_dir(&self.layout.shard(key))
    }

    pub(super) fn unpublish(&self, upload: UploadId, key: &BlobKey) -> Result<bool, StoreError> {
        let staged = self.layout.upload(upload);
        let place = self.layout.blob(key);
        match rename(&place, &staged) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.identity.verify(&self.layout).map(|()| false);
            }
            // A publish by link was interrupted before it removed the old name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_same(&staged, &place)? => {
                fs::remove_file(&place)?;
            }
            Err(error) => return Err(error.into()),
        }
        // This is rare, so it can afford to sync: the caller forgets the path next.
        durable::sync_dir(&self.layout.uploads())?;
        durable::sync_dir(&self.layout.shard(key))?;
        Ok(true)
    }

    /// Converts an error: a missing name is [`StoreError::NotFound`], unless the whole store is missing.
    fn explain(&self, error: io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::NotFound => self.missing(StoreError::NotFound),
            _ => error.into(),
        }
    }
}

/// Renames a file without replacing another.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some filesystems do not support this (NFS, older FUSE); linking never replaces a file either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => move_by_link(from, to),
        result => Ok(result?),
    }
}

fn move_by_link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let one = fs::metadata(one)?;
    let other = fs::metadata(other)?;
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_by_link_never_replaces() {
        let dir = tempfile::tempdir().expect("a directory");
        let from = dir.path().join("from");
        let to = dir.path().join("to");
        fs::write(&from, "new").expect("written");
        fs::write(&to, "old").expect("written");
        let error = move_by_link(&from, &to).expect_err("exists");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&to).expect("removed");
        move_by_link(&from, &to).expect("moved");
        assert!(!from.exists());
        assert_eq!(fs::read(&to).expect("there"), b"new");
    }
}
