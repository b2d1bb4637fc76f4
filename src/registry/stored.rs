//! The disk usage of everything the registry stores.

use super::{Registry, ServiceError};
use crate::store::{StoreError, StoredItem};

/// How many blobs are measured in one step.
const MEASURE_BATCH: usize = 256;

/// Disk usage in bytes. Blobs, blobs pending deletion and directories together are the blob tree, as of the last
/// committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Blobs.
    pub blobs: u64,
    /// Blobs pending deletion: nothing names them any more, and their bytes are about to be removed.
    pub pending_deletion: u64,
    /// The directories the blobs lie in.
    pub directories: u64,
    /// The bytes received by open uploads.
    pub staged: u64,
    /// The database and its log.
    pub database: u64,
}

impl Stored {
    /// Returns the sum of all parts.
    pub fn total(&self) -> u64 {
        self.blobs + self.pending_deletion + self.directories + self.staged + self.database
    }
}

impl Registry {
    /// Measures the disk usage.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn stored(&self) -> Result<Stored, ServiceError> {
        let mut staged = 0;
        for (id, _) in self.blobs.list(None).await?.uploads {
            staged += self.blobs.allocated(StoredItem::Upload(id)).await?;
        }
        let directories = self.blobs.allocated(StoredItem::Directories).await?;
        let totals = self.metadata.totals().await?;
        let database = self.metadata.own_size().await?;
        Ok(Stored {
            blobs: totals.blob_allocated,
            pending_deletion: totals.pending_deletion_allocated,
            directories,
            staged,
            database,
        })
    }

    /// Measures some blobs whose disk usage is only estimated. Returns whether more are waiting.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn measure_blobs(&self) -> Result<bool, ServiceError> {
        if self.settings.read_only {
            return Ok(false);
        }
        let blobs = self.metadata.unmeasured(MEASURE_BATCH).await?;
        let more = blobs.len() == MEASURE_BATCH;
        let mut measured = Vec::with_capacity(blobs.len());
        for blob in blobs {
            match self.blobs.allocated(StoredItem::Blob(&blob.key)).await {
                Ok(allocated) => measured.push((blob.key, allocated)),
                // Lost bytes take no space; `fsck` reports them.
                Err(StoreError::NotFound) => measured.push((blob.key, 0)),
                Err(error) => return Err(error.into()),
            }
        }
        if !measured.is_empty() {
            self.metadata.record_allocated(measured).await?;
        }
        Ok(more)
    }
}
