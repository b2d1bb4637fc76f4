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
mod prune;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::copy::{Copied, copy_blobs};
use super::progress::Progress;
use crate::metadata::MetadataError;
use crate::metadata::sqlite;
use crate::metadata::{Access as MetadataAccess, Metadata};
use crate::registry::{Registry, ServiceError};
use crate::store::{Access, BlobStore, FilesystemStore, OpenError, StoreError};

pub use self::metadata_copy::METADATA;

/// Why a backup or a restore failed.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The directory can't be used; the text says why.
    #[error("{0}")]
    Refused(String),
    /// A file or directory could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// A blob store could not be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A database could not be opened.
    #[error(transparent)]
    Metadata(#[from] sqlite::OpenError),
    /// A store failed during the copy.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

impl From<MetadataError> for BackupError {
    fn from(error: MetadataError) -> Self {
        Self::Service(error.into())
    }
}

/// The result of a backup or a restore. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    /// The number of blobs the backup has now.
    pub blobs: u64,
    /// Their size.
    pub blob_bytes: u64,
    /// The number of blobs copied this time.
    pub copied: u64,
    /// Their size.
    pub copied_bytes: u64,
    /// The number of blobs removed because only the previous backup listed them.
    pub removed: u64,
    /// Blobs that could not be copied because their content is missing or damaged, each with the reason.
    pub problems: Vec<String>,
}

impl BackupReport {
    /// Whether the backup is complete.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    fn new(copied: Copied, removed: u64) -> Self {
        Self {
            blobs: copied.blobs,
            blob_bytes: copied.blob_bytes,
            copied: copied.copied,
            copied_bytes: copied.copied_bytes,
            removed,
            problems: copied.problems,
        }
    }
}

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
    prune::remove_leftovers(&to).await?;
    registry.flush_pulls().await?;
    let removals_paused = registry.pause_removals().await;
    let incoming = metadata_copy::copy(registry.metadata().as_ref(), dir).await?;
    let copied = copy_blobs(&incoming, registry.blobs(), &to, progress).await?;
    drop(removals_paused);
    drop(incoming);
    metadata_copy::replace(dir)?;
    let metadata = Metadata::open(&dir.join(METADATA), MetadataAccess::ReadOnly)?;
    let removed = prune::remove_unlisted(&metadata, &to, progress).await?;
    Ok(BackupReport::new(copied, removed))
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
    prune::remove_leftovers(&to).await?;
    let copied = copy_blobs(&backup.metadata, &from, &to, progress).await?;
    metadata_copy::install(&backup.metadata, metadata_dir).await?;
    backup.close()?;
    Ok(BackupReport::new(copied, 0))
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
