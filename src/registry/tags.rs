//! Listing and removing tags, and listing referrers.

use super::blobs::deleted;
use super::manifests::Origin;
use super::repositories::page;
use super::{DeleteError, ManifestError, Page, PointTagError, PutManifestError, PutRequest, Repository};
use crate::metadata::{MAX_REFERRERS_BYTES, ReferrerRecord};
use crate::oci::{Digest, Reference, Tag};

impl Repository {
    /// Up to `limit` tags in byte order behind `after`, which need not exist.
    ///
    /// # Errors
    /// [`ManifestError::NameUnknown`].
    pub async fn tags(&self, after: Option<&str>, limit: usize) -> Result<Page<Tag>, ManifestError> {
        let tags = self.registry.metadata.tags(&self.name, after, limit + 1).await?;
        tags.map(|tags| page(tags, limit)).ok_or(ManifestError::NameUnknown)
    }

    /// Points a tag at a manifest that is here: a push of what is there already, under one more name.
    ///
    /// # Errors
    /// [`PointTagError::Unknown`] for a manifest that is not here, and what a push may be refused for.
    pub async fn point_tag(&self, tag: Tag, digest: &Digest) -> Result<(), PointTagError> {
        let manifest = match self.viewed().manifest(&Reference::Digest(digest.clone())).await {
            Ok(manifest) => manifest,
            Err(ManifestError::Service(fault)) => {
                return Err(PutManifestError::Service(fault).into());
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

    /// Removes a tag alone.
    ///
    /// # Errors
    /// [`DeleteError::Unknown`], [`DeleteError::Immutable`].
    pub async fn delete_tag(&self, tag: &Tag) -> Result<(), DeleteError> {
        self.registry.admit_change()?;
        let metadata = &self.registry.metadata;
        let change = &self.change();
        let deletion = self.registry.make_space(|| metadata.delete_tag(&self.name, tag, change));
        deleted(deletion.await?)
    }

    /// Up to `limit` manifests whose subject is `subject`, by digest behind `after`. Those that a client
    /// listed under the fallback tag are among them: their subject is recorded whichever way they came.
    ///
    /// # Errors
    /// [`ManifestError::ServiceError`]; a subject or a repository that is absent has no referrers.
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
        // The page was cut short: there may be more behind it, and its last entry begins the next one.
        let limit = if bytes > MAX_REFERRERS_BYTES { limit.min(found.len() - 1).max(1) } else { limit };
        Ok(page(found, limit))
    }
}
