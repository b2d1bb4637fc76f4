//! Lists of repositories and tags, the details of one repository, tag or manifest, and their history.

use std::sync::Arc;

use super::Reports;
use crate::jobs::retention::InForce;
use crate::metadata::{
    HistoryEntry, ListPage, ListQuery, ManifestEntry, NamespaceEntry, Page, ReferrerRecord, Related,
    RepositoryEntry, SearchResults, SortKey, TagEntry, UntaggedPage, Visible,
};
use crate::oci::{Digest, IndexMember, Reference, RepoName, Tag, index_members};
use crate::registry::{ManifestError, ServiceError};

/// The maximum number of referrers returned with a manifest.
const MAX_REFERRERS: usize = 1000;

/// A tag in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTag {
    /// The tag itself.
    pub entry: TagEntry,
    /// Whether the policies in force protect it from expiring.
    pub protected: bool,
    /// Whether it also cannot be moved or deleted.
    pub immutable: bool,
}

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

impl ListedTag {
    fn new(repository: &RepoName, entry: TagEntry, in_force: &InForce) -> Self {
        Self {
            protected: in_force.is_protected(repository, &entry.name),
            immutable: in_force.is_immutable(repository, &entry.name),
            entry,
        }
    }
}

impl Reports {
    /// Returns a page of the visible repositories that have something to pull.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn repositories(
        &self,
        query: &ListQuery,
        visible: &Visible,
    ) -> Result<ListPage<RepositoryEntry>, ServiceError> {
        self.registry.flush_pulls_for_report().await;
        Ok(self.registry.metadata().list_repositories(query, visible).await?)
    }

    /// Returns the details of a repository, or `None` if there is nothing to pull from it.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn repository(&self, name: &RepoName) -> Result<Option<RepositoryEntry>, ServiceError> {
        self.registry.flush_pulls_for_report().await;
        Ok(self.registry.metadata().repository_entry(name).await?)
    }

    /// Returns a page of a repository's tags.
    ///
    /// # Errors
    /// [`ManifestError::NameUnknown`] if there is no such repository.
    pub async fn tags(
        &self,
        name: &RepoName,
        query: &ListQuery,
    ) -> Result<ListPage<ListedTag>, ManifestError> {
        // Sorting by size reads all tags.
        let _turn = if query.sort == SortKey::Size { self.turn().await } else { None };
        self.registry.flush_pulls_for_report().await;
        let tags = self.registry.metadata().list_tags(name, query).await?;
        let ListPage { items, next } = tags.ok_or(ManifestError::NameUnknown)?;
        let in_force = self.in_force();
        let items = items.into_iter().map(|entry| ListedTag::new(name, entry, &in_force)).collect();
        Ok(ListPage { items, next })
    }

    /// Returns a page of a repository's manifests that no tag, index or subject holds, in the order of their digests.
    ///
    /// # Errors
    /// [`ManifestError::NameUnknown`] if there is no such repository.
    pub async fn untagged(
        &self,
        name: &RepoName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<UntaggedPage, ManifestError> {
        self.registry.flush_pulls_for_report().await;
        let rules = self.collector.rules().await?;
        let found = self.registry.metadata().untagged_manifests(name, &rules, after, limit).await?;
        found.ok_or(ManifestError::NameUnknown)
    }

    /// Returns a page of the names directly below `parent` that lead to visible repositories; without a parent, of the
    /// first segments of names.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn namespaces(
        &self,
        parent: Option<&RepoName>,
        after: Option<&str>,
        limit: usize,
        visible: &Visible,
    ) -> Result<ListPage<NamespaceEntry>, ServiceError> {
        Ok(self.registry.metadata().namespaces(parent, after, limit, visible).await?)
    }

    /// Searches visible repositories, their tags, and the first digits of digests. Returns up to `limit` results of each
    /// kind.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn search(
        &self,
        text: &str,
        visible: &Visible,
        limit: usize,
    ) -> Result<SearchResults, ServiceError> {
        self.registry.flush_pulls_for_report().await;
        Ok(self.registry.metadata().search(text, visible, limit).await?)
    }

    /// Returns the details of a tag.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] or [`ManifestError::NameUnknown`] if it does not exist.
    pub async fn tag(&self, name: &RepoName, tag: &Tag) -> Result<ListedTag, ManifestError> {
        self.registry.flush_pulls_for_report().await;
        match self.registry.metadata().tag_entry(name, tag).await? {
            Some(entry) => Ok(ListedTag::new(name, entry, &self.in_force())),
            None => Err(self.registry.unknown_manifest(name).await?),
        }
    }

    /// Returns the details of a manifest. This does not count as a pull.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] or [`ManifestError::NameUnknown`] if it does not exist.
    pub async fn manifest(&self, name: &RepoName, digest: &Digest) -> Result<ManifestDetail, ManifestError> {
        self.registry.flush_pulls_for_report().await;
        let metadata = self.registry.metadata();
        let found = metadata.manifest_entry(name, digest).await?;
        let record = metadata.manifest(name, &Reference::Digest(digest.clone())).await?;
        let (Some((entry, related)), Some(record)) = (found, record) else {
            return Err(self.registry.unknown_manifest(name).await?);
        };
        let members = index_members(&record.content);
        let referrers = metadata.referrers(name, digest, None, None, MAX_REFERRERS).await?;
        Ok(ManifestDetail { entry, related, members, referrers })
    }

    /// Returns up to `limit` rows of the history of a tag before the row `before`, newest first. Removed tags have a
    /// history too. Without a tag it is the history of the repository itself: its deletions, restorations and renames.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn history(
        &self,
        name: &RepoName,
        tag: Option<&Tag>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<HistoryEntry>, ServiceError> {
        Ok(self.registry.metadata().tag_history(name, tag, before, limit).await?)
    }

    /// Returns the policies in force.
    pub(super) fn in_force(&self) -> Arc<InForce> {
        self.retention.policy_set().in_force()
    }
}
