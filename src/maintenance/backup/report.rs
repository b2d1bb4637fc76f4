//! The results of backups and restores, and their errors.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::metadata::MetadataError;
use crate::metadata::sqlite;
use crate::registry::ServiceError;
use crate::store::{OpenError, StoreError};

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
}
