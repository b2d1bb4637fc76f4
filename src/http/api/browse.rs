//! The tree of namespaces, and a search across repositories.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::InQuery;
use super::page::{PageParameters, name_cursor, page, page_size};
use super::problem::Errors;
use super::rights::Requester;
use super::routes::{Routes, routes};
use super::{Page, Problem, Repository, Time};
use crate::metadata::{FoundDigest, FoundTag, NamespaceEntry, SearchResults, SortKey};
use crate::oci::RepoName;

/// The number of results of each kind if the request sets none.
const DEFAULT_RESULTS: u32 = 20;

/// The maximum length of a text to search for, in bytes.
const MAX_SEARCH_LEN: usize = 255;

/// A name directly below another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Namespace {
    /// The whole name.
    pub name: String,
    /// Whether it is a repository itself.
    pub is_repository: bool,
    /// The number of repositories below it that the client may pull, up to 1,000.
    pub repositories: u64,
    /// Whether there may be more.
    pub more_repositories: bool,
}

/// Selects the names below a parent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NamespaceParameters {
    /// The name whose children are listed; by default the first segments of all names.
    #[param(max_length = 255, example = "team")]
    pub parent: Option<String>,
    /// The maximum number of items; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the previous page.
    pub after: Option<String>,
}

/// What to search for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchParameters {
    /// A part of the name of a repository, the start of a tag, `<part of a name>:<start of a tag>`, or at least seven
    /// hexadecimal digits from the start of a digest.
    #[param(max_length = 255, example = "app")]
    pub text: String,
    /// The maximum number of results of each kind; 20 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Found {
    /// Repositories whose names contain the text.
    pub repositories: Vec<Repository>,
    /// Whether more repositories match.
    pub more_repositories: bool,
    /// Tags that start with the text; those of the repositories that were pushed to last come first.
    pub tags: Vec<TagMatch>,
    /// Whether more tags match.
    pub more_tags: bool,
    /// Manifests whose digests start with the text.
    pub manifests: Vec<DigestMatch>,
    /// Blobs whose digests start with the text.
    pub blobs: Vec<DigestMatch>,
    /// Whether tags and manifests were searched only in the two thousand repositories that were pushed to last.
    pub incomplete: bool,
}

/// A tag that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TagMatch {
    /// Its repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The digest of the manifest that it points at.
    pub digest: String,
    /// When it was last pushed or moved.
    pub pushed_at: Time,
}

/// A manifest or blob that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DigestMatch {
    /// A repository that has it.
    pub repository: String,
    /// Its digest.
    pub digest: String,
}

impl From<NamespaceEntry> for Namespace {
    fn from(NamespaceEntry { name, is_repository, below }: NamespaceEntry) -> Self {
        Self {
            name: name.to_string(),
            is_repository,
            repositories: below.number,
            more_repositories: below.more,
        }
    }
}

impl From<SearchResults> for Found {
    fn from(results: SearchResults) -> Self {
        Self {
            repositories: results.repositories.into_iter().map(Repository::from).collect(),
            more_repositories: results.more_repositories,
            tags: results.tags.into_iter().map(TagMatch::from).collect(),
            more_tags: results.more_tags,
            manifests: results.manifests.into_iter().map(DigestMatch::from).collect(),
            blobs: results.blobs.into_iter().map(DigestMatch::from).collect(),
            incomplete: results.incomplete,
        }
    }
}

impl From<FoundTag> for TagMatch {
    fn from(FoundTag { repo, tag, pushed_at, digest }: FoundTag) -> Self {
        Self {
            repository: repo.to_string(),
            tag: tag.to_string(),
            digest: digest.to_string(),
            pushed_at: pushed_at.into(),
        }
    }
}

impl From<FoundDigest> for DigestMatch {
    fn from(FoundDigest { repo, digest }: FoundDigest) -> Self {
        Self { repository: repo.to_string(), digest: digest.to_string() }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(namespaces)).routes(routes!(search))
}

/// Lists the names directly below a name, for a tree of repositories. Only names that lead to a repository with content
/// to pull are listed.
#[utoipa::path(
    get, path = "/namespaces", operation_id = "listNamespaces", tag = "repositories",
    params(NamespaceParameters),
    responses((status = OK, description = "A page of names.", body = Page<Namespace>), Errors)
)]
async fn namespaces(
    requester: Requester,
    InQuery(NamespaceParameters { parent, limit, after }): InQuery<NamespaceParameters>,
) -> Result<Json<Page<Namespace>>, Problem> {
    let parent = parent.filter(|parent| !parent.is_empty()).map(|parent| parent.parse::<RepoName>());
    let parent = parent.transpose().map_err(|error| Problem::bad(format_args!("parent: {error}")))?;
    let limit = PageParameters { limit, after: None }.limit()?;
    let after = name_cursor(after.as_deref())?;
    let found = requester.namespaces(parent.as_ref(), after.as_deref(), limit).await?;
    Ok(Json(page(found, SortKey::Name, Namespace::from)?))
}

/// Searches repositories, tags and digests.
#[utoipa::path(
    get, path = "/search", operation_id = "search", tag = "repositories", params(SearchParameters),
    responses((status = OK, description = "The results.", body = Found), Errors)
)]
async fn search(
    requester: Requester,
    InQuery(SearchParameters { text, limit }): InQuery<SearchParameters>,
) -> Result<Json<Found>, Problem> {
    let limit = page_size(limit.or(Some(DEFAULT_RESULTS)))?;
    if text.len() > MAX_SEARCH_LEN {
        return Err(Problem::bad(format_args!("text: must have at most {MAX_SEARCH_LEN} bytes")));
    }
    Ok(Json(requester.search(&text, limit).await?.into()))
}
