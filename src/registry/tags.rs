//! Listing and removing tags, and listing referrers.

use super::{DeleteError, ManifestError, Page, Repository};
use crate::metadata::ReferrerRecord;
use crate::oci::{Digest, Tag};

impl Repository {
    /// Up to `limit` tags in byte order behind `after`, which need not exist.
    ///
    /// # Errors
    /// [`ManifestError::NameUnknown`].
    pub async fn tags(&self, after: Option<&str>, limit: usize) -> Result<Page<Tag>, ManifestError> {
        todo!("{after:?} {limit}")
    }

    /// Removes a tag alone.
    ///
    /// # Errors
    /// [`DeleteError::Unknown`].
    pub async fn delete_tag(&self, tag: &Tag) -> Result<(), DeleteError> {
        todo!("{tag}")
    }

    /// Up to `limit` manifests whose subject is `subject`, by digest behind `after`; those that an index
    /// under the fallback tag lists are among them.
    ///
    /// # Errors
    /// [`ManifestError::Fault`]; a subject or a repository that is absent has no referrers.
    pub async fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<ReferrerRecord>, ManifestError> {
        todo!("{subject} {artifact_type:?} {after:?} {limit}")
    }
}
