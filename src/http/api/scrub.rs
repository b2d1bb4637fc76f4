//! What the scrub has seen, and what it has set aside.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::RegistryReader;
use super::extract::InQuery;
use super::problem::Refusals;
use super::{Api, Page, PageParameters, Problem, Time};
use crate::clock::Timestamp;
use crate::jobs::scrub::{ScrubReport, SetAside};

/// How far the scrub in the background has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scrub {
    /// Blobs that this pass has read so far.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Manifests that it has read so far.
    pub manifests: u64,
    /// What it found to be wrong: the first ten thousand.
    pub problems: Vec<Finding>,
    /// How many blobs are set aside in all; `damaged` lists them.
    pub damaged: u64,
    /// When the last whole pass ended; `null` for never.
    #[schema(required)]
    pub finished_at: Option<Time>,
    /// Why it pauses, if it does.
    #[schema(required)]
    pub paused: Option<String>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What has it: a blob's digest, or a manifest with its repository.
    pub subject: String,
    /// What is wrong with it.
    pub message: String,
}

/// A blob that is set aside: absent to everyone until a push brings its bytes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Damaged {
    /// Its digest.
    pub digest: String,
    /// How many bytes it should have.
    pub size: u64,
    /// Repositories that have it: the first few.
    pub repositories: Vec<String>,
}

impl From<ScrubReport> for Scrub {
    fn from(report: ScrubReport) -> Self {
        let finding = |problem: crate::jobs::fsck::Problem| Finding {
            subject: problem.subject,
            message: problem.message,
        };
        Self {
            blobs: report.blobs,
            blob_bytes: report.blob_bytes,
            manifests: report.manifests,
            problems: report.problems.into_iter().map(finding).collect(),
            damaged: report.damaged,
            finished_at: report.finished_at.map(|at| Timestamp(at).into()),
            paused: report.paused,
        }
    }
}

impl From<SetAside> for Damaged {
    fn from(SetAside { digest, size, repositories }: SetAside) -> Self {
        Self { digest, size, repositories }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(damaged))
}

/// How far the scrub has come, and what it found.
#[utoipa::path(
    get, path = "/scrub", operation_id = "getScrub", tag = "damage",
    responses((status = OK, description = "How far it is.", body = Scrub), Refusals)
)]
async fn get(overseer: RegistryReader) -> Result<Json<Scrub>, Problem> {
    Ok(Json(overseer.scrub().await?.into()))
}

/// The blobs that are set aside, by digest.
#[utoipa::path(
    get, path = "/damaged", operation_id = "listDamaged", tag = "damage",
    params(PageParameters),
    responses((status = OK, description = "A page of them.", body = Page<Damaged>), Refusals)
)]
async fn damaged(
    overseer: RegistryReader,
    InQuery(parameters): InQuery<PageParameters>,
) -> Result<Json<Page<Damaged>>, Problem> {
    let after = parameters.after()?;
    let found = overseer.damaged(after.as_ref(), parameters.limit()?).await?;
    let next = found.items.last().filter(|_| found.more).map(|last| last.key.digest.to_string());
    let items = found.items.into_iter().map(|blob| Damaged::from(SetAside::from(blob))).collect();
    Ok(Json(Page { items, next }))
}
