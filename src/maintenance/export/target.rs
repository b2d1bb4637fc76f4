//! Where an export goes: a layout that stores manifests, blobs and tags. All calls block.

use std::io;
use std::path::PathBuf;

use super::report::ExportError;
use crate::distribution::TaggedRevision;
use crate::metadata::LiveManifest;
use crate::oci::{Digest, RepoName};
use crate::registry::ServiceError;
use crate::store::StoreError;

/// A layout that is being written.
pub(super) trait Target: Send + Sync + 'static {
    /// Returns the path at which a blob of `size` bytes has to be put; `None` if it is there.
    fn place(&self, repo: &RepoName, digest: &Digest, size: u64) -> Result<Option<PathBuf>, ExportError>;

    /// Adds a manifest whose blobs are there.
    fn put_manifest(
        &self,
        repo: &RepoName,
        manifest: LiveManifest,
        blobs: &[Digest],
    ) -> Result<(), ExportError>;

    /// Adds or moves a tag. Returns `false`, and changes nothing, if its manifest was not added.
    fn set_tag(&self, repo: &RepoName, tagged: &TaggedRevision) -> Result<bool, ExportError>;

    /// Ends a repository: all of its manifests and tags were added.
    fn finish(&self, repo: &RepoName) -> Result<(), ExportError>;

    /// Makes everything durable.
    fn sync(&self) -> Result<(), ExportError>;
}

/// Runs `work` on a blocking thread, to its end even if the caller is dropped.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ExportError> + Send + 'static,
) -> Result<T, ExportError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ServiceError::from(StoreError::Io(io::Error::other(error))).into()),
    }
}
