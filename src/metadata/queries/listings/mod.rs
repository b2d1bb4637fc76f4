//! Sorted and filtered lists for people. A page is read in two steps: the keys of its entries, from an index if its
//! order has one, and then each entry by its key.

mod entries;
mod repositories;
mod tags;
mod walk;

use crate::metadata::ops::repo_id;
use crate::metadata::sql::digest;
use crate::metadata::{
    ListPage, ListQuery, ManifestEntry, Metadata, Operation, Related, RepositoryEntry, Result, TagEntry,
    Visible,
};
use crate::oci::{Digest, RepoName, Tag};

pub(in crate::metadata) use repositories::{RecentRepository, recently_pushed};

#[cfg(test)]
pub(in crate::metadata) use repositories::{
    NAMES_DOWN, NAMES_UP, names_page, numbers, numbers_by_name, repositories_page,
};
#[cfg(test)]
pub(in crate::metadata) use tags::tags_page;

impl Metadata {
    /// Returns a page of the `visible` repositories that have a live manifest. Reads at most
    /// [`crate::metadata::MAX_EXAMINED`] other repositories.
    pub async fn list_repositories(
        &self,
        query: &ListQuery,
        visible: &Visible,
    ) -> Result<ListPage<RepositoryEntry>> {
        let query = query.clone();
        let visible = visible.clone();
        self.query_page(Operation::ListRepositories, move |c| {
            repositories::repositories_page(c, &query, &visible)
        })
        .await
    }

    /// Returns a page of names only, in byte order, after `after`. Otherwise like
    /// [`Metadata::list_repositories`].
    pub async fn repository_names(
        &self,
        after: Option<&str>,
        limit: usize,
        visible: &Visible,
    ) -> Result<ListPage<RepoName>> {
        let after = after.map(str::to_owned);
        let visible = visible.clone();
        self.query_page(Operation::RepositoryNames, move |c| {
            repositories::names_page(c, after.as_deref(), limit, &visible)
        })
        .await
    }

    /// Returns a repository that has a live manifest.
    pub async fn repository_entry(&self, repo: &RepoName) -> Result<Option<RepositoryEntry>> {
        self.query(Operation::RepositoryEntry, |c| match repo_id(c, repo)? {
            Some(id) => Ok(entries::repository(c, id)?.filter(|entry| entry.manifests > 0)),
            None => Ok(None),
        })
        .await
    }

    /// Returns a page of a repository's tags. `None` if the repository does not exist.
    pub async fn list_tags(&self, repo: &RepoName, query: &ListQuery) -> Result<Option<ListPage<TagEntry>>> {
        let repo = repo.clone();
        let query = query.clone();
        self.query_page(Operation::ListTags, move |c| match repo_id(c, &repo)? {
            Some(repo) => tags::entries(c, repo, &query).map(Some),
            None => Ok(None),
        })
        .await
    }

    /// Returns a tag.
    pub async fn tag_entry(&self, repo: &RepoName, tag: &Tag) -> Result<Option<TagEntry>> {
        self.query(Operation::TagEntry, |c| match repo_id(c, repo)? {
            Some(repo) => Ok(entries::tag(c, repo, tag.as_str())?.map(|found| found.entry)),
            None => Ok(None),
        })
        .await
    }

    /// Returns a live manifest with its tags, references and indexes.
    pub async fn manifest_entry(
        &self,
        repo: &RepoName,
        wanted: &Digest,
    ) -> Result<Option<(ManifestEntry, Related)>> {
        self.query(Operation::ManifestEntry, |c| match repo_id(c, repo)? {
            Some(repo) => entries::manifest(c, repo, &digest(wanted)),
            None => Ok(None),
        })
        .await
    }
}
