//! Lists of repositories and tags, and the details of one repository, tag or manifest.

use super::{ManifestError, Registry, Repository, ServiceError};
use crate::metadata::{
    ListPage, ListQuery, ManifestEntry, ReferrerRecord, Related, RepositoryEntry, TagEntry, Visible,
};
use crate::oci::{Digest, IndexMember, Reference, RepoName, Tag, index_members};

/// The maximum number of referrers returned with a manifest.
const MAX_REFERRERS: usize = 1000;

/// The details of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestDetail {
    /// The manifest itself.
    pub entry: ManifestEntry,
    /// The content related to it.
    pub related: Related,
    /// The members of an index, in its order.
    pub members: Vec<IndexMember>,
    /// The first manifests that have it as their subject.
    pub referrers: Vec<ReferrerRecord>,
}

impl Registry {
    /// Returns a page of the visible repositories that have something to pull.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn list_repositories(
        &self,
        query: &ListQuery,
        visible: &Visible,
    ) -> Result<ListPage<RepositoryEntry>, ServiceError> {
        self.flush_pulls_for_report().await;
        Ok(self.metadata.list_repositories(query, visible).await?)
    }

    /// Returns the details of a repository, or `None` if there is nothing to pull from it.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn repository_entry(&self, name: &RepoName) -> Result<Option<RepositoryEntry>, ServiceError> {
        self.flush_pulls_for_report().await;
        Ok(self.metadata.repository_entry(name).await?)
    }
}

impl Repository {
    /// Returns a page of tags.
    ///
    /// # Errors
    /// [`ManifestError::NameUnknown`] if there is no such repository.
    pub async fn list_tags(&self, query: &ListQuery) -> Result<ListPage<TagEntry>, ManifestError> {
        self.registry.flush_pulls_for_report().await;
        let tags = self.registry.metadata.list_tags(&self.name, query).await?;
        tags.ok_or(ManifestError::NameUnknown)
    }

    /// Returns the details of a tag.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] or [`ManifestError::NameUnknown`] if it does not exist.
    pub async fn tag_entry(&self, tag: &Tag) -> Result<TagEntry, ManifestError> {
        self.registry.flush_pulls_for_report().await;
        match self.registry.metadata.tag_entry(&self.name, tag).await? {
            Some(entry) => Ok(entry),
            None => Err(self.unknown_manifest().await?),
        }
    }

    /// Returns the details of a manifest. This does not count as a pull.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] or [`ManifestError::NameUnknown`] if it does not exist.
    pub async fn manifest_detail(&self, digest: &Digest) -> Result<ManifestDetail, ManifestError> {
        self.registry.flush_pulls_for_report().await;
        let metadata = &self.registry.metadata;
        let found = metadata.manifest_entry(&self.name, digest).await?;
        let record = metadata.manifest(&self.name, &Reference::Digest(digest.clone())).await?;
        let (Some((entry, related)), Some(record)) = (found, record) else {
            return Err(self.unknown_manifest().await?);
        };
        let members = index_members(&record.content);
        let referrers = metadata.referrers(&self.name, digest, None, None, MAX_REFERRERS).await?;
        Ok(ManifestDetail { entry, related, members, referrers })
    }
}
