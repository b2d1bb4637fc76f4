//! Repositories.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Reader, Requester};
use super::extract::{InQuery, OfRepository};
use super::page::page;
use super::problem::Refusals;
use super::{Api, ListParameters, Page, Problem, Time};
use crate::metadata::RepositoryEntry;

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// How many tags it has.
    pub tags: u64,
    /// How many manifests it has.
    pub manifests: u64,
    /// The bytes of all that it has, each blob once. What was deleted counts until it is collected.
    pub bytes: u64,
    /// When something was last pushed to it, even if that is gone by now.
    pub pushed_at: Time,
    /// When something was last pulled from it, even if that is gone by now; `null` for never.
    #[schema(required)]
    pub pulled_at: Option<Time>,
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
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

/// The repositories that have something to pull.
#[utoipa::path(
    get, path = "/repositories", operation_id = "listRepositories", tag = "repositories",
    params(ListParameters),
    responses((status = OK, description = "A page of them.", body = Page<Repository>), Refusals)
)]
async fn list(
    asker: Requester,
    InQuery(parameters): InQuery<ListParameters>,
) -> Result<Json<Repositories>, Problem> {
    let query = parameters.query()?;
    let found = asker.repositories(&query).await?;
    Ok(Json(page(found, query.sort, Repository::from)?))
}

/// One of them.
#[utoipa::path(
    get, path = "/repositories/{name}", operation_id = "getRepository", tag = "repositories",
    params(OfRepository),
    responses((status = OK, description = "The repository.", body = Repository), Refusals)
)]
async fn get(reader: Reader) -> Result<Json<Repository>, Problem> {
    let found = reader.repository().await?;
    let entry = found.ok_or_else(|| Problem::unknown("repository unknown to the registry"))?;
    Ok(Json(entry.into()))
}
