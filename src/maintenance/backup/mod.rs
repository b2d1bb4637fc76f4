//! Backups: `backup DIR` and `restore DIR`.
//!
//! A backup is itself a data directory with the same store identity. Blobs and metadata have the same layout as in the
//! original, and `orlop fsck --data DIR` checks it. It is made while the registry serves:
//!
//! 1. Removals are paused, so that all blobs in the copied metadata stay in place.
//! 2. The metadata is copied to `DIR/incoming`.
//! 3. Every blob it lists that `DIR` does not have yet is copied, hashed on the way, and synced.
//! 4. `DIR/incoming` replaces `DIR/metadata`.
//! 5. Blobs that only the previous metadata listed are removed.
//!
//! If the backup is interrupted before step 4, the previous backup is unchanged; after it, the new one is complete.

mod copy;
mod metadata_copy;
mod report;

use std::path::Path;
use std::sync::Arc;

use self::copy::{copy_blobs, remove_leftovers, remove_unlisted};
use super::progress::Progress;
use crate::metadata::{Access as MetadataAccess, Metadata};
use crate::registry::Registry;
use crate::store::{Access, BlobStore, FilesystemStore, OpenError};

pub use self::metadata_copy::METADATA;
pub use self::report::{BackupError, BackupReport};

/// Backs up `registry`, whose blobs are in `data`, to `dir`, or updates the backup there. `dir` must exist,
/// and the caller must have locked it.
///
/// # Errors
/// Fails if `dir` can't be used or a store fails. `dir` then holds the previous backup, or the complete new
/// one if only the removal of old blobs failed.
pub async fn backup(
    registry: &Registry,
    data: &Path,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<BackupReport, BackupError> {
    let to = open_copy(data, dir)?;
    remove_leftovers(&to).await?;
    registry.flush_pulls().await?;
    let removals_paused = registry.pause_removals().await;
    let incoming = metadata_copy::copy(registry.metadata().as_ref(), dir).await?;
    let copied = copy_blobs(&incoming, registry.blobs(), &to, progress).await?;
    drop(removals_paused);
    drop(incoming);
    metadata_copy::replace(dir)?;
    let metadata = Metadata::open(&dir.join(METADATA), MetadataAccess::ReadOnly)?;
    let removed = remove_unlisted(&metadata, &to, progress).await?;
    Ok(BackupReport { removed, ..copied })
}

/// Copies the backup in `dir` to `data` and `metadata_dir`, which must be empty or hold the rest of an interrupted
/// restore. The caller has to verify the result.
///
/// # Errors
/// Fails if a directory can't be used or a store fails.
pub async fn restore(
    dir: &Path,
    data: &Path,
    metadata_dir: &Path,
    progress: &dyn Progress,
) -> Result<BackupReport, BackupError> {
    metadata_copy::recover_interrupted(dir)?;
    let from: Arc<dyn BlobStore> = Arc::new(FilesystemStore::open(dir, Access::ReadOnly)?);
    let backup = metadata_copy::BackupMetadata::open(dir, metadata_dir)?;
    let to = open_copy(dir, data)?;
    remove_leftovers(&to).await?;
    let copied = copy_blobs(&backup.metadata, &from, &to, progress).await?;
    metadata_copy::install(&backup.metadata, metadata_dir).await?;
    backup.close()?;
    Ok(copied)
}

/// Opens the store at `to`, which must be a copy of the store at `from`; creates it if there is none.
fn open_copy(from: &Path, to: &Path) -> Result<Arc<FilesystemStore>, BackupError> {
    let original = FilesystemStore::open(from, Access::ReadOnly)?.store_id();
    match FilesystemStore::open(to, Access::ReadOnly) {
        Ok(found) if found.store_id() == original => {}
        Ok(_) => return Err(BackupError::Refused(format!("{} holds another store", to.display()))),
        Err(OpenError::Unidentified { .. }) => metadata_copy::copy_identity(from, to)?,
        Err(error) => return Err(error.into()),
    }
    Ok(Arc::new(FilesystemStore::open(to, Access::ReadWrite)?))
}
