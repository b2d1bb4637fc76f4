//! Reading, mounting and deleting blobs.

use std::ops::Range;

use super::{BlobError, DeleteError, Repository};
use crate::metadata::BlobRecord;
use crate::oci::{Digest, RepoName};
use crate::store::Content;

impl Repository {
    /// A blob that this repository serves. Leases it to a caller who may push.
    ///
    /// # Errors
    /// [`BlobError::Unknown`] if it serves no such blob.
    pub async fn blob(&self, digest: &Digest) -> Result<BlobRecord, BlobError> {
        todo!("{digest}")
    }

    /// The bytes of `range` of a blob that [`Repository::blob`] found.
    ///
    /// # Errors
    /// [`BlobError::Unknown`] if it is gone meanwhile.
    pub async fn read_blob(&self, blob: &BlobRecord, range: Range<u64>) -> Result<Content, BlobError> {
        todo!("{blob:?} {range:?}")
    }

    /// Makes a blob that another repository (`from`, or any) serves a blob of this one too, and leases it.
    /// `None` if there is no such blob, and the client has to upload it.
    ///
    /// # Errors
    /// [`BlobError::Fault`].
    pub async fn mount(
        &self,
        digest: &Digest,
        from: Option<&RepoName>,
    ) -> Result<Option<BlobRecord>, BlobError> {
        todo!("{digest} {from:?}")
    }

    /// Takes a blob away from this repository.
    ///
    /// # Errors
    /// [`DeleteError::HeldBy`] if a live manifest refers to it.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), DeleteError> {
        todo!("{digest}")
    }
}
