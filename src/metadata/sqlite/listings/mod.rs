//! Lists for people. A page is found in two steps: the names that are on it, from an index where there is
//! one for its order, and then each entry by its key.

mod entries;
mod pages;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::codec::digest;
use super::{SqliteMetadata, repo_id};
use crate::metadata::{
    ListQuery, Listings, ManifestEntry, Place, Related, RepositoryEntry, Result, TagEntry,
};
use crate::oci::{Digest, RepoName, Tag};

#[cfg(test)]
pub(super) use pages::{repositories_page, tags_page};

#[async_trait]
impl Listings for SqliteMetadata {
    async fn list_repositories(&self, query: &ListQuery) -> Result<Vec<RepositoryEntry>> {
        let query = query.clone();
        self.read_aside(move |c| {
            let mut page = c.prepare_cached(&pages::repositories_page(query.sort, query.descending))?;
            let (place, search) = (start(&query), search(&query));
            let prefix = query.prefix.as_deref().unwrap_or("");
            let values = params![
                place.number,
                place.name,
                search,
                limit(&query),
                prefix,
                format!("{prefix}\u{10ffff}")
            ];
            let ids: Vec<i64> = page.query_map(values, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            ids.into_iter().map(|id| entries::repository(c, id)).collect()
        })
        .await
    }

    async fn repository_entry(&self, repo: &RepoName) -> Result<Option<RepositoryEntry>> {
        let repo = repo.clone();
        self.read_aside(move |c| {
            let Some(id) = repo_id(c, &repo)? else {
                return Ok(None);
            };
            let entry = entries::repository(c, id)?;
            Ok(Some(entry).filter(|entry| entry.manifests > 0))
        })
        .await
    }

    async fn list_tags(&self, repo: &RepoName, query: &ListQuery) -> Result<Option<Vec<TagEntry>>> {
        let (repo, query) = (repo.clone(), query.clone());
        self.read_aside(move |c| {
            let Some(repo) = repo_id(c, &repo)? else {
                return Ok(None);
            };
            let names = tag_names(c, repo, &query)?;
            let entry = |name: &String| entries::tag(c, repo, name).transpose();
            names.iter().filter_map(entry).collect::<rusqlite::Result<_>>().map(Some)
        })
        .await
    }

    async fn tag_entry(&self, repo: &RepoName, tag: &Tag) -> Result<Option<TagEntry>> {
        self.read(|c| match repo_id(c, repo)? {
            Some(repo) => entries::tag(c, repo, tag.as_str()),
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

fn tag_names(c: &Connection, repo: i64, query: &ListQuery) -> rusqlite::Result<Vec<String>> {
    let mut page = c.prepare_cached(&pages::tags_page(query.sort, query.descending))?;
    let place = start(query);
    let values = params![place.number, place.name, search(query), limit(query), repo];
    page.query_map(values, |row| row.get(0))?.collect()
}

fn limit(query: &ListQuery) -> i64 {
    i64::try_from(query.limit).unwrap_or(i64::MAX)
}

fn search(query: &ListQuery) -> Option<String> {
    query.search.as_ref().map(|text| text.to_lowercase())
}

/// The place that a page begins behind: before all that there is, where the query does not say.
fn start(query: &ListQuery) -> Place {
    match (&query.after, query.descending) {
        (Some(place), _) => place.clone(),
        (None, false) => Place { number: i64::MIN, name: String::new() },
        (None, true) => Place { number: i64::MAX, name: "\u{10ffff}".into() },
    }
}
