//! Deleting, restoring and renaming repositories as a whole.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Administers, Changer, Reader};
use super::extract::{OfRepository, WithBody};
use super::problem::{ChangeRefusals, Refusals};
use super::{Api, ChangeKind, Problem};
use crate::auth::Action;
use crate::metadata::{RepositoryStep, RepositoryWork};
use crate::oci::RepoName;

/// How the deletion or restoration of a repository stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Work {
    /// Which repository.
    pub repository: String,
    /// What is done: `delete` or `restore`.
    pub kind: ChangeKind,
    /// The number of the deletion that it is, or undoes, in the repository's history.
    pub removal: i64,
    /// How many manifests there were when it began.
    pub total: u64,
    /// How many of them have been removed or brought back.
    pub done: u64,
    /// How many stay as they are: they lack something, or an immutable tag or a new index holds them.
    pub failed: u64,
    /// Whether it has ended.
    pub finished: bool,
    /// Tags that stay as they are, for they were used again meanwhile: the first hundred.
    pub taken: Vec<String>,
    /// Digests that manifests lack which do not come back: the first hundred.
    pub missing: Vec<String>,
}

/// What a repository is to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameRequest {
    /// Its new name.
    #[schema(
        max_length = 255,
        pattern = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$"
    )]
    pub to: String,
}

/// Which deletion to undo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndeleteRequest {
    /// Its number in the repository's history; where nothing is said, the last one.
    pub removal: Option<i64>,
}

impl From<RepositoryStep> for Work {
    fn from(RepositoryStep { work, finished, taken, missing }: RepositoryStep) -> Self {
        Self {
            repository: work.repo.to_string(),
            kind: work.kind.into(),
            removal: work.removal,
            total: work.total,
            done: work.done,
            failed: work.failed,
            finished,
            taken: taken.iter().map(ToString::to_string).collect(),
            missing: missing.iter().map(|(digest, _)| digest.to_string()).collect(),
        }
    }
}

/// What has only begun.
fn begun(work: RepositoryWork) -> (StatusCode, Json<Work>) {
    let step = RepositoryStep { work, finished: false, taken: Vec::new(), missing: Vec::new() };
    (StatusCode::ACCEPTED, Json(step.into()))
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(delete))
        .routes(routes!(restore))
        .routes(routes!(rename))
        .routes(routes!(work))
}

/// Begins to remove all that is in a repository. What is pushed from now on stays.
#[utoipa::path(
    delete, path = "/repositories/{name}", operation_id = "deleteRepository", tag = "repositories",
    params(OfRepository),
    responses(
        (status = ACCEPTED, description = "It has begun; `work` tells how it stands.", body = Work),
        Refusals, ChangeRefusals
    )
)]
async fn delete(may: Changer<Administers>) -> Result<(StatusCode, Json<Work>), Problem> {
    Ok(begun(may.repository.delete().await?))
}

/// Begins to bring back what a deletion of the repository removed.
#[utoipa::path(
    post, path = "/repositories/{name}/restore", operation_id = "restoreRepository", tag = "repositories",
    params(OfRepository), request_body = UndeleteRequest,
    responses(
        (status = ACCEPTED, description = "It has begun; `work` tells how it stands.", body = Work),
        Refusals, ChangeRefusals
    )
)]
async fn restore(
    WithBody { right: may, body: request, .. }: WithBody<Changer<Administers>, UndeleteRequest>,
) -> Result<(StatusCode, Json<Work>), Problem> {
    Ok(begun(may.repository.restore(request.removal).await?))
}

/// Gives a repository another name, at once. Renaming it back undoes that.
#[utoipa::path(
    post, path = "/repositories/{name}/rename", operation_id = "renameRepository", tag = "repositories",
    params(OfRepository), request_body = RenameRequest,
    responses((status = NO_CONTENT, description = "It has the new name."), Refusals, ChangeRefusals)
)]
async fn rename(
    WithBody { right: may, body: request, .. }: WithBody<Changer<Administers>, RenameRequest>,
) -> Result<StatusCode, Problem> {
    let to: RepoName = request.to.parse().map_err(|error| Problem::bad(format_args!("to: {error}")))?;
    may.asker.changer(to.clone(), Action::Administer)?;
    may.repository.rename(&to).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How the last deletion or restoration of a repository stands. Those that have ended are known until the server
/// ends.
#[utoipa::path(
    get, path = "/repositories/{name}/work", operation_id = "getRepositoryWork", tag = "repositories",
    params(OfRepository),
    responses((status = OK, description = "How it stands.", body = Work), Refusals)
)]
async fn work(reader: Reader) -> Result<Json<Work>, Problem> {
    let found = reader.work().await?;
    let step =
        found.ok_or_else(|| Problem::unknown("the repository is being neither deleted nor restored"))?;
    Ok(Json(step.into()))
}
