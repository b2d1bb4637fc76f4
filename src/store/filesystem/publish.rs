//! Giving staged bytes their place, and taking it back.
//!
//! The order is rename, sync of the file, sync of its new directory. It is safe to rename first, because no
//! record names the place until both syncs have returned; and it costs one commit of the filesystem's journal
//! where syncing first would cost two. The directory that the name leaves needs no sync: should the old name
//! come back in a power cut, it is an upload that has no row, or one whose row names the place, and either is
//! cleared away by [`crate::store::BlobStore::discard`] or [`crate::store::BlobStore::unpublish`].

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::{Tree, durable};
use crate::oci::{BlobKey, UploadId};
use crate::store::StoreError;

impl Tree {
    /// `file` is what the bytes were written through, if it is still open. It is closed before anybody asks
    /// what it takes: only then do some filesystems give back what they set aside for bytes yet to come.
    pub(super) fn publish(
        &self,
        upload: UploadId,
        key: &BlobKey,
        file: Option<Arc<File>>,
    ) -> Result<u64, StoreError> {
        let place = self.layout.blob(key);
        self.place(upload, key, &place)?;
        if let Err(error) = self.sync_placed(key, &place, file) {
            // What failed to become durable is thrown away, never synced again. If that fails too the upload
            // still names the place, and is cleared away by what it names.
            let _ = self.unlink(&place);
            return Err(error.into());
        }
        self.allocated(place)
    }

    fn place(&self, upload: UploadId, key: &BlobKey, place: &Path) -> Result<(), StoreError> {
        let staged = self.layout.upload(upload);
        self.shards.ensure(&self.layout, key).map_err(|error| self.explain(error))?;
        match rename(&staged, place) {
            // Either name may be what is missing; somebody may have tidied an empty directory away.
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
        let (staged, place) = (self.layout.upload(upload), self.layout.blob(key));
        match rename(&place, &staged) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.identity.verify(&self.layout).map(|()| false);
            }
            // A publish by link was cut off before it took the first name away.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_same(&staged, &place)? => {
                fs::remove_file(&place)?;
            }
            Err(error) => return Err(error.into()),
        }
        // Rare enough to be certain: the caller goes on to forget the place.
        durable::sync_dir(&self.layout.uploads())?;
        durable::sync_dir(&self.layout.shard(key))?;
        Ok(true)
    }

    /// A name that is missing is [`StoreError::NotFound`], unless the whole store is.
    fn explain(&self, error: io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::NotFound => self.missing(StoreError::NotFound),
            _ => error.into(),
        }
    }
}

/// Renames without replacing.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some filesystems cannot (NFS, older FUSE): linking never replaces either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => move_by_link(from, to),
        result => Ok(result?),
    }
}

fn move_by_link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (fs::metadata(one)?, fs::metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_by_link_never_replaces() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "new").expect("written");
        fs::write(&to, "old").expect("written");
        let error = move_by_link(&from, &to).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&to).expect("removed");
        move_by_link(&from, &to).expect("moved");
        assert!(!from.exists());
        assert_eq!(fs::read(&to).expect("there"), b"new");
    }
}
