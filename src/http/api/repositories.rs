//! Lists repositories and sets their descriptions.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{InQuery, RepositoryPath, WithBody};
use super::page::page;
use super::problem::{ChangeErrors, Errors};
use super::rights::{Administers, ChangeRight, Reader, Requester};
use super::routes::{Routes, routes};
use super::{ListParameters, Page, Problem, Sort, Time};
use crate::metadata::RepositoryEntry;

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// The number of tags.
    pub tags: u64,
    /// The number of manifests.
    pub manifests: u64,
    /// The size of its content in bytes, counting each blob once. Deleted content counts until it is
    /// collected.
    pub bytes: u64,
    /// When something was last pushed to it, even if that no longer exists.
    pub pushed_at: Time,
    /// When something was last pulled from it, even if that no longer exists; `null` if never.
    #[schema(required)]
    pub pulled_at: Option<Time>,
    /// What users wrote about it, as plain text; `null` if nothing.
    #[schema(required)]
    pub description: Option<String>,
}

/// Changes to a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositoryUpdate {
    /// The new description, as plain text; empty to remove it.
    #[schema(max_length = 4096)]
    pub description: String,
}

/// A page of repositories.
pub type Repositories = Page<Repository>;

impl From<RepositoryEntry> for Repository {
    fn from(entry: RepositoryEntry) -> Self {
        Self {
            name: entry.name.as_str().into(),
            tags: entry.tags,
            manifests: entry.manifests,
            bytes: entry.bytes,
            pushed_at: entry.pushed_at.into(),
            pulled_at: entry.pulled_at.map(Time),
            description: entry.description,
        }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(get, update))
}

/// Lists the repositories that have content to pull.
#[utoipa::path(
    get, path = "/repositories", operation_id = "listRepositories", tag = "repositories",
    params(ListParameters),
    responses((status = OK, description = "A page of repositories.", body = Page<Repository>), Errors)
)]
async fn list(
    requester: Requester,
    InQuery(parameters): InQuery<ListParameters>,
) -> Result<Json<Repositories>, Problem> {
    if parameters.sort == Some(Sort::Version) {
        return Err(Problem::bad("sort: only tags are sorted by version; use name, size, pushed or pulled"));
    }
    let query = parameters.query()?;
    let found = requester.repositories(&query).await?;
    Ok(Json(page(found, query.sort, Repository::from)?))
}

/// Returns a repository.
#[utoipa::path(
    get, path = "/repositories/{name}", operation_id = "getRepository", tag = "repositories",
    params(RepositoryPath),
    responses((status = OK, description = "The repository.", body = Repository), Errors)
)]
async fn get(reader: Reader) -> Result<Json<Repository>, Problem> {
    let found = reader.repository().await?;
    let entry = found.ok_or_else(|| Problem::unknown("repository unknown to the registry"))?;
    Ok(Json(entry.into()))
}

/// Sets the description of a repository.
#[utoipa::path(
    patch, path = "/repositories/{name}", operation_id = "updateRepository", tag = "repositories",
    params(RepositoryPath), request_body = RepositoryUpdate,
    responses(
        (status = OK, description = "The repository after the change.", body = Repository),
        Errors, ChangeErrors
    )
)]
async fn update(
    WithBody { right, body: update, audit, .. }: WithBody<ChangeRight<Administers>, RepositoryUpdate>,
) -> Result<Json<Repository>, Problem> {
    right.repository.set_description(&update.description).await?;
    audit.mark_done();
    let found = right.into_reader().repository().await?;
    let entry = found.ok_or_else(|| Problem::unknown("repository unknown to the registry"))?;
    Ok(Json(entry.into()))
}
