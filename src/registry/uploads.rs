//! Uploads: how a blob comes in.

use std::ops::RangeInclusive;

use super::{ClientBody, Repository, UploadError};
use crate::oci::{Algorithm, Digest, UploadId};

impl Repository {
    /// Opens an upload.
    ///
    /// # Errors
    /// [`UploadError::Fault`].
    pub async fn begin_upload(&self, algorithm: Algorithm) -> Result<UploadId, UploadError> {
        todo!("{algorithm}")
    }

    /// Where an upload stands, in bytes. Ends whichever request was writing to it: who asks means to go on.
    ///
    /// # Errors
    /// [`UploadError::Unknown`].
    pub async fn upload_offset(&self, id: UploadId) -> Result<u64, UploadError> {
        todo!("{id}")
    }

    /// Appends a body, which is the bytes of `range` if that is given, and tells where the upload stands
    /// then. What came before an error stays.
    ///
    /// # Errors
    /// Any [`UploadError`] but `WrongDigest`.
    pub async fn append(
        &self,
        id: UploadId,
        range: Option<RangeInclusive<u64>>,
        body: ClientBody,
    ) -> Result<u64, UploadError> {
        drop(body);
        todo!("{id} {range:?}")
    }

    /// Appends a last body and makes the upload the blob `digest`. Durable when it returns.
    ///
    /// # Errors
    /// Any [`UploadError`]. After `WrongDigest` the upload is gone.
    pub async fn finish(
        &self,
        id: UploadId,
        range: Option<RangeInclusive<u64>>,
        body: ClientBody,
        digest: Digest,
    ) -> Result<(), UploadError> {
        drop(body);
        todo!("{id} {range:?} {digest}")
    }

    /// Ends an upload and throws its bytes away.
    ///
    /// # Errors
    /// [`UploadError::Unknown`].
    pub async fn cancel_upload(&self, id: UploadId) -> Result<(), UploadError> {
        todo!("{id}")
    }
}
