//! The layout of the Distribution registry: one tree for all repositories.

use std::path::PathBuf;

use super::report::ExportError;
use super::target::Target;
use crate::distribution::{BlobPlace, DistributionWriter, TaggedRevision};
use crate::metadata::LiveManifest;
use crate::oci::{Digest, RepoName};

impl Target for DistributionWriter {
    fn place(&self, _: &RepoName, digest: &Digest, size: u64) -> Result<Option<PathBuf>, ExportError> {
        Ok(match self.blob_place(digest, size)? {
            BlobPlace::Present => None,
            BlobPlace::Free(path) => Some(path),
        })
    }

    fn put_manifest(
        &self,
        repo: &RepoName,
        manifest: LiveManifest,
        blobs: &[Digest],
    ) -> Result<(), ExportError> {
        for blob in blobs {
            self.link_layer(repo, blob)?;
        }
        self.put_blob_bytes(&manifest.digest, &manifest.content)?;
        Ok(self.link_revision(repo, &manifest.digest, manifest.pushed_at)?)
    }

    fn set_tag(&self, repo: &RepoName, tagged: &TaggedRevision) -> Result<bool, ExportError> {
        if !self.has_revision(repo, &tagged.digest)? {
            return Ok(false);
        }
        self.set_tag(repo, tagged)?;
        Ok(true)
    }

    fn finish(&self, _: &RepoName) -> Result<(), ExportError> {
        Ok(())
    }

    fn sync(&self) -> Result<(), ExportError> {
        Ok(self.sync()?)
    }
}
