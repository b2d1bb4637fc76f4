//! What everything takes, on the medium.

use super::{Registry, ServiceError};
use crate::store::{Spent, StoreError};

/// How many blobs are measured at once.
const MEASURED: usize = 256;

/// What everything takes, in bytes. Blobs, doomed ones and directories together are what the blobs' tree
/// takes, as of the last change that was committed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
pub struct Stored {
    /// Blobs.
    pub blobs: u64,
    /// Blobs that nothing names any more and whose bytes are about to be removed.
    pub doomed: u64,
    /// The directories that they lie in.
    pub directories: u64,
    /// What open uploads have sent.
    pub staged: u64,
    /// The database with its log.
    pub database: u64,
}

impl Stored {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.blobs + self.doomed + self.directories + self.staged + self.database
    }
}

impl Registry {
    /// What everything takes.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn stored(&self) -> Result<Stored, ServiceError> {
        let mut staged = 0;
        for (id, _) in self.blobs.list(None).await?.uploads {
            staged += self.blobs.allocated(Spent::Upload(id)).await?;
        }
        let directories = self.blobs.allocated(Spent::Directories).await?;
        let totals = self.metadata.totals().await?;
        let database = self.metadata.own_size().await?;
        Ok(Stored {
            blobs: totals.blob_allocated,
            doomed: totals.doomed_allocated,
            directories,
            staged,
            database,
        })
    }

    /// Asks the medium what some blobs take of which only a guess is recorded. `true` if more are waiting.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn measure_blobs(&self) -> Result<bool, ServiceError> {
        if self.settings.read_only {
            return Ok(false);
        }
        let blobs = self.metadata.unmeasured(MEASURED).await?;
        let more = blobs.len() == MEASURED;
        let mut measured = Vec::with_capacity(blobs.len());
        for blob in blobs {
            match self.blobs.allocated(Spent::Blob(&blob.key)).await {
                Ok(allocated) => measured.push((blob.key, allocated)),
                // What is lost takes nothing; `fsck` says that it is.
                Err(StoreError::NotFound) => measured.push((blob.key, 0)),
                Err(error) => return Err(error.into()),
            }
        }
        if !measured.is_empty() {
            self.metadata.note_allocated(measured).await?;
        }
        Ok(more)
    }
}
