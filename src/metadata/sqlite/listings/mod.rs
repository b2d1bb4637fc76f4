//! Sorted and filtered lists for people. A page is read in two steps: the keys of its entries, from an index if its
//! order has one, and then each entry by its key.

mod entries;
mod repositories;
mod tags;
mod walk;

use async_trait::async_trait;

use super::codec::digest;
use super::{SqliteMetadata, repo_id};
use crate::metadata::{
    ListPage, ListQuery, Listings, ManifestEntry, Related, RepositoryEntry, Result, TagEntry, Visible,
};
use crate::oci::{Digest, RepoName, Tag};

#[cfg(test)]
pub(super) use repositories::{
    NAMES_DOWN, NAMES_UP, names_page, numbers, numbers_by_name, repositories_page,
};
#[cfg(test)]
pub(super) use tags::tags_page;

/// The SQL operator for later entries and the SQL sort direction.
fn direction(descending: bool) -> (&'static str, &'static str) {
    if descending { ("<", "DESC") } else { (">", "ASC") }
}

#[async_trait]
impl Listings for SqliteMetadata {
    async fn list_repositories(
        &self,
        query: &ListQuery,
        visible: &Visible,
    ) -> Result<ListPage<RepositoryEntry>> {
        let query = query.clone();
        let visible = visible.clone();
        self.read_page(move |c| repositories::repositories_page(c, &query, &visible)).await
    }

    async fn repository_names(
        &self,
        after: Option<&str>,
        limit: usize,
        visible: &Visible,
    ) -> Result<ListPage<RepoName>> {
        let after = after.map(str::to_owned);
        let visible = visible.clone();
        self.read_page(move |c| repositories::names_page(c, after.as_deref(), limit, &visible)).await
    }

    async fn repository_entry(&self, repo: &RepoName) -> Result<Option<RepositoryEntry>> {
        self.read(|c| match repo_id(c, repo)? {
            Some(id) => Ok(entries::repository(c, id)?.filter(|entry| entry.manifests > 0)),
            None => Ok(None),
        })
    }

    async fn list_tags(&self, repo: &RepoName, query: &ListQuery) -> Result<Option<ListPage<TagEntry>>> {
        let repo = repo.clone();
        let query = query.clone();
        self.read_page(move |c| match repo_id(c, &repo)? {
            Some(repo) => tags::entries(c, repo, &query).map(Some),
            None => Ok(None),
        })
        .await
    }

    async fn tag_entry(&self, repo: &RepoName, tag: &Tag) -> Result<Option<TagEntry>> {
        self.read(|c| match repo_id(c, repo)? {
            Some(repo) => Ok(entries::tag(c, repo, tag.as_str())?.map(|found| found.entry)),
            None => Ok(None),
        })
    }

    async fn manifest_entry(
        &self,
        repo: &RepoName,
        wanted: &Digest,
    ) -> Result<Option<(ManifestEntry, Related)>> {
        self.read(|c| match repo_id(c, repo)? {
            Some(repo) => entries::manifest(c, repo, &digest(wanted)),
            None => Ok(None),
        })
    }
}
