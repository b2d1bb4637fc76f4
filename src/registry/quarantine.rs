//! Lists quarantined blobs.

use super::{Page, Registry, ServiceError};
use crate::metadata::QuarantinedBlob;
use crate::oci::Digest;

impl Registry {
    /// Returns up to `limit` quarantined blobs, by digest after `after`.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn quarantined_blobs(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<QuarantinedBlob>, ServiceError> {
        Ok(self.metadata.quarantined_blobs(after, limit).await?)
    }
}
