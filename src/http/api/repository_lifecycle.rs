//! Deletes, restores and renames whole repositories.

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{RepositoryPath, WithBody};
use super::problem::{ChangeErrors, Errors};
use super::rights::{Administers, ChangeRight, Reader};
use super::routes::{Routes, routes};
use super::{ChangeKind, Problem};
use crate::auth::Action;
use crate::metadata::{RepositoryStep, RepositoryWork};
use crate::oci::RepoName;

/// The progress of a repository's deletion or restoration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Work {
    /// The repository.
    pub repository: String,
    /// The operation: `delete` or `restore`.
    pub kind: ChangeKind,
    /// The number, in the repository's history, of the deletion that is carried out or undone.
    pub removal: i64,
    /// The number of manifests when it started.
    pub total: u64,
    /// The number of manifests removed or restored so far.
    pub done: u64,
    /// The number of manifests left unchanged, because content is missing, or because an immutable tag or a
    /// new index holds them.
    pub failed: u64,
    /// Whether it has finished.
    pub finished: bool,
    /// The first hundred tags left unchanged because they have been used again since.
    pub taken: Vec<String>,
    /// The first hundred digests that are missing, so that the manifests that need them cannot be restored.
    pub missing: Vec<String>,
}

/// The new name of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameRequest {
    /// The new name.
    #[schema(
        max_length = 255,
        pattern = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$"
    )]
    pub to: String,
}

/// The deletion to undo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndeleteRequest {
    /// Its number in the repository's history; the last deletion by default.
    pub removal: Option<i64>,
}

impl From<RepositoryStep> for Work {
    fn from(RepositoryStep { work, finished, tags_in_use, missing }: RepositoryStep) -> Self {
        Self {
            repository: work.repo.to_string(),
            kind: work.kind.into(),
            removal: work.removal,
            total: work.total,
            done: work.done,
            failed: work.failed,
            finished,
            taken: tags_in_use.iter().map(ToString::to_string).collect(),
            missing: missing.iter().map(|(digest, _)| digest.to_string()).collect(),
        }
    }
}

/// The response for an operation that has just started.
fn accepted(work: RepositoryWork) -> (StatusCode, Json<Work>) {
    let step = RepositoryStep { work, finished: false, tags_in_use: Vec::new(), missing: Vec::new() };
    (StatusCode::ACCEPTED, Json(step.into()))
}

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(delete))
        .routes(routes!(restore))
        .routes(routes!(rename))
        .routes(routes!(work))
}

/// Starts to remove everything in a repository. Content pushed from now on stays.
#[utoipa::path(
    delete, path = "/repositories/{name}", operation_id = "deleteRepository", tag = "repositories",
    params(RepositoryPath),
    responses(
        (
            status = ACCEPTED,
            description = "The operation has started; `work` reports its progress.",
            body = Work
        ),
        Errors, ChangeErrors
    )
)]
async fn delete(right: ChangeRight<Administers>) -> Result<(StatusCode, Json<Work>), Problem> {
    Ok(accepted(right.repository.delete().await?))
}

/// Starts to restore what a deletion of the repository removed.
#[utoipa::path(
    post, path = "/repositories/{name}/restore", operation_id = "restoreRepository", tag = "repositories",
    params(RepositoryPath), request_body = UndeleteRequest,
    responses(
        (
            status = ACCEPTED,
            description = "The operation has started; `work` reports its progress.",
            body = Work
        ),
        Errors, ChangeErrors
    )
)]
async fn restore(
    WithBody { right, body: request, .. }: WithBody<ChangeRight<Administers>, UndeleteRequest>,
) -> Result<(StatusCode, Json<Work>), Problem> {
    Ok(accepted(right.repository.restore(request.removal).await?))
}

/// Renames a repository, effective at once. To undo it, rename it back.
#[utoipa::path(
    post, path = "/repositories/{name}/rename", operation_id = "renameRepository", tag = "repositories",
    params(RepositoryPath), request_body = RenameRequest,
    responses((status = NO_CONTENT, description = "The repository is renamed."), Errors, ChangeErrors)
)]
async fn rename(
    WithBody { right, body: request, .. }: WithBody<ChangeRight<Administers>, RenameRequest>,
) -> Result<StatusCode, Problem> {
    let to: RepoName = request.to.parse().map_err(|error| Problem::bad(format_args!("to: {error}")))?;
    right.requester.repository_to_change(to.clone(), Action::Administer)?;
    right.repository.rename(&to).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the progress of the last deletion or restoration of a repository. Finished ones are kept until the
/// server stops.
#[utoipa::path(
    get, path = "/repositories/{name}/work", operation_id = "getRepositoryWork", tag = "repositories",
    params(RepositoryPath),
    responses((status = OK, description = "The progress.", body = Work), Errors)
)]
async fn work(reader: Reader) -> Result<Json<Work>, Problem> {
    let found = reader.work().await?;
    let step =
        found.ok_or_else(|| Problem::unknown("no deletion or restoration of the repository is known"))?;
    Ok(Json(step.into()))
}
