//! `backup DIR` and `restore DIR`.
//!
//! A backup is itself a data directory, with the same identity: bytes and facts lie in it as they do in the
//! original, and `orlop fsck --data DIR` checks it. It is made while the registry serves:
//!
//! 1. removals are held back, so that what the copied facts name stays where it is;
//! 2. the facts are copied to `DIR/incoming`;
//! 3. every blob that they name and `DIR` does not have yet is copied, hashed on the way, and synced;
//! 4. `DIR/incoming` takes the place of `DIR/metadata`;
//! 5. bytes that only the previous facts named are removed.
//!
//! Cut off before step 4, the previous backup is what it was; after it, the new one is whole.

mod copy;
mod facts;
mod prune;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::copy::{Copied, copy_blobs};
use super::progress::Progress;
use crate::metadata::MetadataError;
use crate::metadata::sqlite::{self, SqliteMetadata};
use crate::registry::{Registry, ServiceError};
use crate::store::{Access, BlobStore, FilesystemStore, OpenError, StoreError};

pub use self::facts::METADATA;

/// Why a backup or a restore was not made.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The directory holds something else.
    #[error("{0}")]
    Refused(String),
    /// A file or directory.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The bytes of one side.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The facts of one side.
    #[error(transparent)]
    Metadata(#[from] sqlite::OpenError),
    /// A store failed on the way.
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

/// What a backup or a restore did. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    /// Blobs that it now has.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Blobs that were copied this time.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Blobs that only the previous backup had, and whose bytes were removed.
    pub removed: u64,
    /// Blobs that could not be copied, because their bytes are missing or damaged: each with the reason.
    pub problems: Vec<String>,
}

impl BackupReport {
    /// Whether it has everything.
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

/// Makes or renews in `dir` the backup of `registry`, whose bytes are in `data`. The caller has locked `dir`,
/// which exists.
///
/// # Errors
/// [`BackupError`]; then `dir` still holds the previous backup.
pub async fn backup(
    registry: &Registry,
    data: &Path,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<BackupReport, BackupError> {
    let to = open_copy(data, dir)?;
    prune::leftovers(&to).await?;
    registry.flush_pulls().await?;
    let held = registry.hold_removals().await;
    let incoming = facts::copy(registry.metadata().as_ref(), dir).await?;
    let copied = copy_blobs(&incoming, registry.blobs(), &to, progress).await?;
    drop(held);
    drop(incoming);
    facts::replace(dir)?;
    let facts = SqliteMetadata::open(&dir.join(METADATA), sqlite::Access::ReadOnly)?;
    let removed = prune::unnamed(&facts, &to, progress).await?;
    Ok(BackupReport::new(copied, removed))
}

/// Copies the backup in `dir` to `data` and `metadata_dir`, which hold nothing, or what a restore that was
/// cut off left behind. Verifying it is up to the caller.
///
/// # Errors
/// [`BackupError`].
pub async fn restore(
    dir: &Path,
    data: &Path,
    metadata_dir: &Path,
    progress: &dyn Progress,
) -> Result<BackupReport, BackupError> {
    facts::settle(dir)?;
    let from: Arc<dyn BlobStore> = Arc::new(FilesystemStore::open(dir, Access::ReadOnly)?);
    let backup = facts::BackupMetadata::open(dir, metadata_dir)?;
    let to = open_copy(dir, data)?;
    prune::leftovers(&to).await?;
    let copied = copy_blobs(&backup.facts, &from, &to, progress).await?;
    facts::place(&backup.facts, metadata_dir).await?;
    backup.close()?;
    Ok(BackupReport::new(copied, 0))
}

/// Opens the store at `to`, which is that at `from` once more; makes it if there is none.
fn open_copy(from: &Path, to: &Path) -> Result<Arc<FilesystemStore>, BackupError> {
    let original = FilesystemStore::open(from, Access::ReadOnly)?.store_id();
    match FilesystemStore::open(to, Access::ReadOnly) {
        Ok(found) if found.store_id() == original => {}
        Ok(_) => return Err(BackupError::Refused(format!("{} holds another store", to.display()))),
        Err(OpenError::Unidentified { .. }) => facts::copy_identity(from, to)?,
        Err(error) => return Err(error.into()),
    }
    Ok(Arc::new(FilesystemStore::open(to, Access::ReadWrite)?))
}
