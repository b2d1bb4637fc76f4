//! Makes blobs available to other programs, at paths outside of the store.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::tree::Tree;
use crate::errors::Context;
use crate::oci::BlobKey;
use crate::shared_files as files;
use crate::store::{ExportMethod, StoreError};

impl Tree {
    /// Implements [`crate::store::BlobStore::export`].
    pub(super) fn export(
        &self,
        key: &BlobKey,
        size: u64,
        to: &Path,
        method: ExportMethod,
    ) -> Result<ExportMethod, StoreError> {
        let blob = self.open_blob(key, size)?;
        let exported = match method {
            ExportMethod::HardLink => link_or_copy(&self.layout.blob(key), blob, to),
            ExportMethod::Copy => copy(blob, to).map(|()| ExportMethod::Copy),
        };
        // Not `StoreError::from`: what is full or read-only may be the other filesystem.
        exported
            .map_err(|error| StoreError::Io(io::Error::new(error.kind(), Context::new(to.display(), error))))
    }
}

fn link_or_copy(from: &Path, blob: File, to: &Path) -> io::Result<ExportMethod> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(ExportMethod::HardLink),
        Err(error) if needs_copy(&error) => copy(blob, to).map(|()| ExportMethod::Copy),
        Err(error) => Err(error),
    }
}

/// Whether a hard link is impossible: to another filesystem, on one without hard links, to a file of another user
/// (`fs.protected_hardlinks`), or because the file has too many.
fn needs_copy(error: &io::Error) -> bool {
    let causes = [Errno::XDEV, Errno::PERM, Errno::MLINK, Errno::NOTSUP, Errno::NOSYS];
    causes.iter().any(|cause| error.raw_os_error() == Some(cause.raw_os_error()))
}

/// Copies a blob to `to`, which must not exist. The copy is durable before it has its name.
fn copy(mut blob: File, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let draft = files::draft_of(to);
    let mut file = files::create_draft(&draft)?;
    let copied = io::copy(&mut blob, &mut file).and_then(|_| file.sync_all());
    if let Err(error) = copied.and_then(|()| fs::rename(&draft, to)) {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    Ok(())
}
