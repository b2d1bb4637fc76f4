//! Listing the blobs that are set aside.

use super::{Fault, Page, Registry};
use crate::metadata::DamagedBlob;
use crate::oci::Digest;

impl Registry {
    /// Up to `limit` of the blobs that are set aside, by digest behind `after`.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn damaged(&self, after: Option<&Digest>, limit: usize) -> Result<Page<DamagedBlob>, Fault> {
        Ok(self.metadata.damaged(after, limit).await?)
    }
}
