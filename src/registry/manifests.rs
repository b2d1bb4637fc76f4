//! Accepting, serving and deleting manifests.

use bytes::Bytes;

use super::{DeleteError, ManifestError, PutManifestError, Repository};
use crate::metadata::ManifestRecord;
use crate::oci::{Digest, MediaType, Reference, Tag};

/// A manifest as a client pushes it.
#[derive(Debug, Clone)]
pub struct PutRequest {
    /// The digest that it was pushed by, if it was not by tag alone.
    pub digest: Option<Digest>,
    /// The tags to point at it.
    pub tags: Vec<Tag>,
    /// What the client says it is.
    pub content_type: Option<MediaType>,
    /// Its exact bytes.
    pub content: Bytes,
}

/// What a client is told of an accepted manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutReceipt {
    /// Its digest.
    pub digest: Digest,
    /// The subject that was noted.
    pub subject: Option<Digest>,
}

impl Repository {
    /// A live manifest, by tag or digest. Leases it to a caller who may push.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] and [`ManifestError::NameUnknown`].
    pub async fn manifest(&self, reference: &Reference) -> Result<ManifestRecord, ManifestError> {
        todo!("{reference}")
    }

    /// Notes that a manifest was pulled.
    pub fn note_pull(&self, digest: &Digest) {
        todo!("{digest}")
    }

    /// Accepts a manifest: it and all that it refers to can be pulled from now on. Durable when it returns.
    ///
    /// # Errors
    /// Any [`PutManifestError`]; then nothing changed.
    pub async fn put_manifest(&self, request: PutRequest) -> Result<PutReceipt, PutManifestError> {
        todo!("{request:?}")
    }

    /// Removes a manifest and all tags that point at it.
    ///
    /// # Errors
    /// [`DeleteError::HeldBy`] if a live index refers to it.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<(), DeleteError> {
        todo!("{digest}")
    }
}
