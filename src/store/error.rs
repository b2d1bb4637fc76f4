//! Errors of the blob store.

use std::io;

use thiserror::Error;

use crate::errors::BoxError;

/// An error of the blob store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store has no such bytes.
    #[error("no such bytes in the store")]
    NotFound,
    /// The size of the bytes shows that they are not the ones that were stored.
    #[error("the stored bytes are damaged: {0}")]
    Damaged(String),
    /// The disk is full, or a disk quota is exhausted.
    #[error("the store is full")]
    Full,
    /// The medium is read-only.
    #[error("the store is read-only")]
    ReadOnly,
    /// The identity file is missing or belongs to another store: an unmounted or swapped volume.
    #[error("the store is not the one that was opened")]
    Vanished(#[source] BoxError),
    /// The staged bytes can no longer be used through this handle: they were published, discarded, staged again, or
    /// discarded because a write or sync failed.
    #[error("the staged bytes of the upload are no longer open here: {0}")]
    Closed(&'static str),
    /// Another I/O error.
    #[error("the store failed")]
    Io(#[source] io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Io(error),
        }
    }
}
