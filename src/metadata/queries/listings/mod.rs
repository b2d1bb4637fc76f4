//! Sorted and filtered lists for people. A page is read in two steps: the keys of its entries, from an index if its
//! order has one, and then each entry by its key.

mod entries;
mod namespaces;
mod repositories;
mod search;
mod tags;
mod untagged;
mod walk;

use crate::metadata::ops::repo_id;
use crate::metadata::sql::digest;
use crate::metadata::{
    CollectionRules, ListPage, ListQuery, ManifestEntry, Metadata, NamespaceEntry, Operation, Related,
    RepositoryEntry, Result, SearchResults, TagEntry, UntaggedPage, Visible,
};
use crate::oci::{Digest, RepoName, Tag};

pub(in crate::metadata) use repositories::{RecentRepository, first_visible, recently_pushed};

#[cfg(test)]
pub(in crate::metadata) use entries::{ALIASES, LAST_CHANGE_BY};
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

    /// Returns a page of the live manifests of a repository that no tag, index or subject holds, in the order of their
    /// digests. `None` if the repository does not exist. Reads at most a thousand entries of the review queue and a
    /// thousand pins.
    pub async fn untagged_manifests(
        &self,
        repo: &RepoName,
        rules: &CollectionRules,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Option<UntaggedPage>> {
        let repo = repo.clone();
        let rules = *rules;
        let after = after.map(digest);
        self.query_page(Operation::UntaggedManifests, move |c| match repo_id(c, &repo)? {
            Some(repo) => untagged::untagged_page(c, repo, &rules, after.as_deref(), limit).map(Some),
            None => Ok(None),
        })
        .await
    }

    /// Returns the size of the config and layers of each of these manifests, and of their children; `None` for those
    /// that do not exist.
    pub async fn content_sizes(&self, repo: &RepoName, wanted: &[Digest]) -> Result<Vec<Option<u64>>> {
        let repo = repo.clone();
        let wanted: Vec<_> = wanted.iter().map(digest).collect();
        self.query_page(Operation::ContentSizes, move |c| match repo_id(c, &repo)? {
            Some(repo) => entries::content_sizes(c, repo, &wanted),
            None => Ok(vec![None; wanted.len()]),
        })
        .await
    }

    /// Returns a page of the names directly below `parent` that lead to visible repositories; without a parent, of the
    /// first segments of names. Reads at most [`crate::metadata::MAX_EXAMINED`] names.
    pub async fn namespaces(
        &self,
        parent: Option<&RepoName>,
        after: Option<&str>,
        limit: usize,
        visible: &Visible,
    ) -> Result<ListPage<NamespaceEntry>> {
        let parent = parent.cloned();
        let after = after.map(str::to_owned);
        let visible = visible.clone();
        self.query_page(Operation::Namespaces, move |c| {
            namespaces::namespaces_page(c, parent.as_ref(), after.as_deref(), limit, &visible)
        })
        .await
    }

    /// Searches the names of visible repositories, their tags, and the first digits of digests. Returns up to `limit`
    /// results of each kind. Reads at most [`crate::metadata::MAX_EXAMINED`] names, and looks up tags and manifests in
    /// the two thousand repositories that were pushed to last.
    pub async fn search(&self, text: &str, visible: &Visible, limit: usize) -> Result<SearchResults> {
        let text = text.to_owned();
        let visible = visible.clone();
        self.query_page(Operation::Search, move |c| search::search(c, &text, &visible, limit)).await
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

    /// Returns the size of what a pull of a manifest transfers: its blobs and those of its children, each once. The
    /// manifest may be in the trash.
    pub async fn content_size(&self, repo: &RepoName, wanted: &Digest) -> Result<Option<u64>> {
        self.query(Operation::ContentSize, |c| match repo_id(c, repo)? {
            Some(repo) => entries::content_size(c, repo, &digest(wanted)),
            None => Ok(None),
        })
        .await
    }
}
