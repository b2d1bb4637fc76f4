//! Listing, pointing and removing tags, immutable tags, and listing referrers.

use std::sync::Arc;

use super::blobs::deletion_result;
use super::manifests::Origin;
use super::{
    DeleteError, ManifestError, Page, PointTagError, PutManifestError, PutRequest, Registry, Repository,
    TagGuard,
};
use crate::metadata::{Change, ImmutableTags, MAX_REFERRERS_BYTES, ReferrerRecord};
use crate::oci::{Digest, Reference, RepoName, Tag};

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

/// Builds a page of up to `limit` items. `items` may have one more, which shows that more follow.
fn page<T>(mut items: Vec<T>, limit: usize) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}

impl Registry {
    /// Sets the guard that decides which tags are immutable, from the next request on.
    pub fn guard_tags(&self, guard: Arc<dyn TagGuard>) {
        *self.tag_guard.write() = Some(guard);
    }

    /// Returns the immutable tags of a repository, for a change that is about to be made.
    pub(super) fn immutable_tags(&self, repo: &RepoName) -> ImmutableTags {
        let guard = self.tag_guard.read().clone();
        let repo = repo.clone();
        guard.map_or_else(ImmutableTags::default, |guard| {
            ImmutableTags::new(move |tag| guard.is_immutable(&repo, tag))
        })
    }

    /// Adds the immutable tags and history limits of `repo` to a change.
    pub(super) fn with_repository_rules(&self, repo: &RepoName, change: Change) -> Change {
        Change {
            immutable_tags: self.immutable_tags(repo),
            keep: self.settings.history_keep,
            keep_in_repository: self.settings.history_max_rows,
            ..change
        }
    }
}

impl Repository {
    /// Returns the context of a change that the caller makes now.
    pub(super) fn change(&self) -> Change {
        let by = self.by.as_deref().map(str::to_owned);
        self.registry
            .with_repository_rules(&self.name, Change { by, ..Change::from(self.registry.clock.now()) })
    }
}
