//! Listing and removing tags, and listing referrers.

use super::blobs::deletion_result;
use super::manifests::Origin;
use super::repositories::page;
use super::{DeleteError, ManifestError, Page, PointTagError, PutManifestError, PutRequest, Repository};
use crate::metadata::{MAX_REFERRERS_BYTES, ReferrerRecord};
use crate::oci::{Digest, Reference, Tag};

impl Repository {
    /// Returns up to `limit` tags in byte order after `after`, which need not exist.
    ///
    /// # Errors
    /// [`ManifestError::NameUnknown`] if there is no such repository.
    pub async fn tags(&self, after: Option<&str>, limit: usize) -> Result<Page<Tag>, ManifestError> {
        let tags = self.registry.metadata.tags(&self.name, after, limit + 1).await?;
        tags.map(|tags| page(tags, limit)).ok_or(ManifestError::NameUnknown)
    }

    /// Points a tag at a manifest of this repository, like a push of the same manifest under another tag.
    ///
    /// # Errors
    /// [`PointTagError::Unknown`] if there is no such manifest, otherwise the error of the push.
    pub async fn point_tag(&self, tag: Tag, digest: &Digest) -> Result<(), PointTagError> {
        let manifest = match self.without_push().manifest(&Reference::Digest(digest.clone())).await {
            Ok(manifest) => manifest,
            Err(ManifestError::Service(error)) => {
                return Err(PutManifestError::Service(error).into());
            }
            Err(ManifestError::Unknown | ManifestError::NameUnknown) => return Err(PointTagError::Unknown),
        };
        let _place = self.manifest_place(manifest.content.len()).await.map_err(PutManifestError::Service)?;
        let request = PutRequest {
            digest: Some(digest.clone()),
            tags: vec![tag],
            content_type: manifest.media_type.parse().ok(),
            content: manifest.content,
        };
        self.put(request, Origin::Record).await?;
        Ok(())
    }

    /// Removes a tag. Its manifest stays.
    ///
    /// # Errors
    /// [`DeleteError::Unknown`] if there is no such tag, [`DeleteError::Immutable`] if it is immutable.
    pub async fn delete_tag(&self, tag: &Tag) -> Result<(), DeleteError> {
        self.registry.admit_change()?;
        let metadata = &self.registry.metadata;
        let change = &self.change();
        let outcome = self.registry.make_space(|| metadata.delete_tag(&self.name, tag, change));
        deletion_result(outcome.await?)
    }

    /// Returns up to `limit` manifests whose subject is `subject`, in the order of digests after `after`.
    /// They include those that a client also lists under the fallback tag, because the subject is recorded at
    /// every push.
    ///
    /// # Errors
    /// Fails if the metadata store fails; an absent subject or repository has no referrers.
    pub async fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<ReferrerRecord>, ManifestError> {
        let metadata = &self.registry.metadata;
        let found = metadata.referrers(&self.name, subject, artifact_type, after, limit + 1).await?;
        let bytes: u64 = found.iter().map(|referrer| referrer.size).sum();
        // The entry that exceeds the byte limit is left to the next page, and more may follow it.
        let limit = if bytes > MAX_REFERRERS_BYTES { limit.min(found.len() - 1).max(1) } else { limit };
        Ok(page(found, limit))
    }
}
