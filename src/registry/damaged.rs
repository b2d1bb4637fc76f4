//! Listing the blobs that are set aside.

use super::{Page, Registry, ServiceError};
use crate::metadata::DamagedBlob;
use crate::oci::Digest;

impl Registry {
    /// Up to `limit` of the blobs that are set aside, by digest behind `after`.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn damaged(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<DamagedBlob>, ServiceError> {
        Ok(self.metadata.damaged(after, limit).await?)
    }
}
