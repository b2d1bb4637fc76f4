//! The adoption of another registry's images: its state, its release and its end.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{ChangeErrors, Errors};
use super::rights::{RegistryAdmin, RegistryReader};
use super::routes::{Routes, routes};
use super::{Problem, Time};
use crate::errors::Chain;
use crate::maintenance::adopt::{self, FinishError, FinishReport};
use crate::maintenance::progress::Silent;
use crate::metadata::{AdoptionFigures, AdoptionRecord, Metadata};

/// The adoption of another registry's images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Adoption {
    /// The directory of the other registry.
    pub path: String,
    /// When it was adopted first.
    pub started_at: Time,
    /// When it was adopted completely last; `null` if it never was.
    #[schema(required)]
    pub adopted_at: Option<Time>,
    /// When policies and the budget were allowed to remove what was adopted; `null` if they may not.
    #[schema(required)]
    pub released_at: Option<Time>,
    /// Whether the tree of the other registry is removed.
    pub tree_removed: bool,
    /// The size of the tree's blobs in bytes.
    pub tree_bytes: u64,
    /// The repositories of the tree.
    pub repositories: u64,
    /// The tags of the tree.
    pub tags: u64,
    /// What is broken in the tree and was left there.
    pub problems: u64,
    /// Adopted manifests that neither policies nor the budget may remove.
    pub held_manifests: u64,
    /// Blobs that have yet to be verified.
    pub unverified_blobs: u64,
    /// Their size in bytes.
    pub unverified_bytes: u64,
    /// Blobs whose bytes the tree holds too, so that deleting them frees nothing.
    pub shared_blobs: u64,
    /// The bytes on disk of these blobs.
    pub shared_bytes: u64,
}

/// The result of the end of an adoption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finished {
    /// Whether the tree is removed.
    pub removed: bool,
    /// The blobs that were verified now.
    pub verified: u64,
    /// What only the tree has: it is kept then.
    pub only_there: Vec<String>,
    /// The digests of blobs that are damaged or can't be read: the tree is kept then.
    pub damaged: Vec<String>,
}

impl Adoption {
    fn new(record: AdoptionRecord, figures: AdoptionFigures) -> Self {
        Self {
            path: record.path,
            started_at: record.started_at.into(),
            adopted_at: record.finished_at.map(Time),
            released_at: record.released_at.map(Time),
            tree_removed: record.tree_removed,
            tree_bytes: record.tree_bytes,
            repositories: record.counts.repositories,
            tags: record.counts.tags,
            problems: record.counts.problems,
            held_manifests: figures.held_manifests,
            unverified_blobs: figures.unverified_blobs,
            unverified_bytes: figures.unverified_bytes,
            shared_blobs: figures.hardlinked_blobs,
            shared_bytes: figures.hardlinked_bytes,
        }
    }
}

impl From<FinishReport> for Finished {
    fn from(report: FinishReport) -> Self {
        Self {
            removed: report.is_done(),
            verified: report.verified,
            only_there: report
                .only_there
                .iter()
                .map(|flaw| format!("{}: {}", flaw.subject, flaw.message))
                .collect(),
            damaged: report.damaged,
        }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(get)).routes(routes!(release)).routes(routes!(finish))
}

/// Returns the state of the adoption of another registry's images.
#[utoipa::path(
    get, path = "/adoption", operation_id = "getAdoption", tag = "adoption",
    responses(
        (status = OK, description = "The adoption.", body = Adoption),
        (status = NOT_FOUND, description = "Nothing was adopted.", body = Problem),
        Errors
    )
)]
async fn get(registry_reader: RegistryReader) -> Result<Json<Adoption>, Problem> {
    state(registry_reader.metadata()).await?.map(Json).ok_or_else(nothing)
}

/// Lets policies and the budget remove what was adopted. Look at a retention plan with `released=true` first.
#[utoipa::path(
    post, path = "/adoption/release", operation_id = "releaseAdoption", tag = "adoption",
    responses(
        (status = OK, description = "The adoption.", body = Adoption),
        (status = NOT_FOUND, description = "Nothing was adopted.", body = Problem),
        Errors, ChangeErrors
    )
)]
async fn release(registry_admin: RegistryAdmin) -> Result<Json<Adoption>, Problem> {
    release_adopted(&registry_admin).await?;
    state(registry_admin.registry().metadata()).await?.map(Json).ok_or_else(nothing)
}

/// Verifies what is unverified, and removes the other registry's tree if everything of it was adopted. This takes as
/// long as reading what is unverified; it goes on if the client disconnects.
#[utoipa::path(
    post, path = "/adoption/finish", operation_id = "finishAdoption", tag = "adoption",
    responses(
        (status = OK, description = "What was done.", body = Finished),
        (status = NOT_FOUND, description = "Nothing was adopted.", body = Problem),
        (status = CONFLICT, description = "The other registry still writes, or its tree can't be removed.", body = Problem),
        Errors, ChangeErrors
    )
)]
async fn finish(registry_admin: RegistryAdmin) -> Result<Json<Finished>, Problem> {
    Ok(Json(end(&registry_admin).await?.into()))
}

/// The state of the adoption, if there is one.
pub(in crate::http) async fn state(metadata: &Metadata) -> Result<Option<Adoption>, Problem> {
    let Some(record) = metadata.adoption().await? else {
        return Ok(None);
    };
    Ok(Some(Adoption::new(record, metadata.adoption_figures().await?)))
}

/// Lets policies and the budget remove what was adopted.
pub(in crate::http) async fn release_adopted(admin: &RegistryAdmin) -> Result<(), Problem> {
    if adopt::release(admin.registry()).await? { Ok(()) } else { Err(nothing()) }
}

/// Ends the adoption.
pub(in crate::http) async fn end(admin: &RegistryAdmin) -> Result<FinishReport, Problem> {
    let registry = Arc::clone(admin.registry());
    let record = registry.metadata().adoption().await?.ok_or_else(nothing)?;
    // It goes on without the client.
    let ended = tokio::spawn(async move { adopt::finish(&registry, record.path.into(), &Silent).await });
    match ended.await.map_err(|_| Problem::failed())? {
        Ok(report) => Ok(report),
        Err(FinishError::Service(error)) => Err(error.into()),
        Err(error) => Err(Problem::new(StatusCode::CONFLICT, Chain(&error).to_string())),
    }
}

fn nothing() -> Problem {
    Problem::unknown("nothing was adopted")
}
