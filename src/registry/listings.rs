//! Lists for people, and what is known of one tag or manifest.

use super::{ManifestError, Registry, Repository, ServiceError};
use crate::metadata::{
    ListPage, ListQuery, ManifestEntry, ReferrerRecord, Related, RepositoryEntry, TagEntry, Visible,
};
use crate::oci::{Digest, IndexMember, Reference, RepoName, Tag, index_members};

/// The most referrers that are told with a manifest.
const MOST_REFERRERS: usize = 1000;

/// What is known of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestDetail {
    /// The manifest itself.
    pub entry: ManifestEntry,
    /// What is connected with it.
    pub related: Related,
    /// The members of an index, in its order.
    pub members: Vec<IndexMember>,
    /// What is about it: the first of them.
    pub referrers: Vec<ReferrerRecord>,
}

impl Registry {
    /// A page of the visible repositories that have something to pull.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn list_repositories(
        &self,
        query: &ListQuery,
        visible: &Visible,
    ) -> Result<ListPage<RepositoryEntry>, ServiceError> {
        self.settle_pulls().await;
        Ok(self.metadata.list_repositories(query, visible).await?)
    }

    /// What is known of a repository. `None` if there is nothing to pull from it.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn repository_entry(&self, name: &RepoName) -> Result<Option<RepositoryEntry>, ServiceError> {
        self.settle_pulls().await;
        Ok(self.metadata.repository_entry(name).await?)
    }
}

impl Repository {
    /// A page of tags.
    ///
    /// # Errors
    /// [`ManifestError::NameUnknown`].
    pub async fn list_tags(&self, query: &ListQuery) -> Result<ListPage<TagEntry>, ManifestError> {
        self.registry.settle_pulls().await;
        let tags = self.registry.metadata.list_tags(&self.name, query).await?;
        tags.ok_or(ManifestError::NameUnknown)
    }

    /// What is known of a tag.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] and [`ManifestError::NameUnknown`].
    pub async fn tag_entry(&self, tag: &Tag) -> Result<TagEntry, ManifestError> {
        self.registry.settle_pulls().await;
        match self.registry.metadata.tag_entry(&self.name, tag).await? {
            Some(entry) => Ok(entry),
            None => Err(self.unknown_manifest().await?),
        }
    }

    /// What is known of a manifest. It counts as no pull.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] and [`ManifestError::NameUnknown`].
    pub async fn manifest_detail(&self, digest: &Digest) -> Result<ManifestDetail, ManifestError> {
        self.registry.settle_pulls().await;
        let metadata = &self.registry.metadata;
        let found = metadata.manifest_entry(&self.name, digest).await?;
        let record = metadata.manifest(&self.name, &Reference::Digest(digest.clone())).await?;
        let (Some((entry, related)), Some(record)) = (found, record) else {
            return Err(self.unknown_manifest().await?);
        };
        let members = index_members(&record.content);
        let referrers = metadata.referrers(&self.name, digest, None, None, MOST_REFERRERS).await?;
        Ok(ManifestDetail { entry, related, members, referrers })
    }
}
