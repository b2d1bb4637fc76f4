//! The progress of the scrub, and the blobs in quarantine.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::InQuery;
use super::problem::Errors;
use super::rights::RegistryReader;
use super::routes::{Routes, routes};
use super::{Page, PageParameters, Problem, Time};
use crate::clock::Timestamp;
use crate::jobs::scrub::{QuarantineEntry, ScrubReport};

/// The progress of the background scrub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scrub {
    /// The number of blobs that this pass has read so far.
    pub blobs: u64,
    /// The size of those blobs in bytes.
    pub blob_bytes: u64,
    /// The number of manifests that this pass has read so far.
    pub manifests: u64,
    /// The problems found: the first ten thousand.
    pub problems: Vec<Finding>,
    /// The total number of quarantined blobs; `damaged` lists them.
    pub damaged: u64,
    /// When the last complete pass ended; `null` if never.
    #[schema(required)]
    pub finished_at: Option<Time>,
    /// Why it is paused, if it is.
    #[schema(required)]
    pub paused: Option<String>,
}

/// A problem that the scrub found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// The affected blob's digest, or the affected manifest and its repository.
    pub subject: String,
    /// A description of the problem.
    pub message: String,
}

/// A quarantined blob: it is not served until a push restores its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Damaged {
    /// Its digest.
    pub digest: String,
    /// The size in bytes that it should have.
    pub size: u64,
    /// The first few repositories that have it.
    pub repositories: Vec<String>,
}

impl From<ScrubReport> for Scrub {
    fn from(report: ScrubReport) -> Self {
        let finding = |problem: crate::maintenance::fsck::Problem| Finding {
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

impl From<QuarantineEntry> for Damaged {
    fn from(QuarantineEntry { digest, size, repositories }: QuarantineEntry) -> Self {
        Self { digest, size, repositories }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(get)).routes(routes!(damaged))
}

/// Returns the progress of the scrub and its findings.
#[utoipa::path(
    get, path = "/scrub", operation_id = "getScrub", tag = "damage",
    responses((status = OK, description = "The progress.", body = Scrub), Errors)
)]
async fn get(registry_reader: RegistryReader) -> Result<Json<Scrub>, Problem> {
    Ok(Json(registry_reader.scrub().await?.into()))
}

/// Lists the quarantined blobs, sorted by digest.
#[utoipa::path(
    get, path = "/damaged", operation_id = "listDamaged", tag = "damage",
    params(PageParameters),
    responses((status = OK, description = "A page of blobs.", body = Page<Damaged>), Errors)
)]
async fn damaged(
    registry_reader: RegistryReader,
    InQuery(parameters): InQuery<PageParameters>,
) -> Result<Json<Page<Damaged>>, Problem> {
    let after = parameters.after()?;
    let limit = parameters.limit()?;
    let found = registry_reader.metadata().quarantined_blobs(after.as_ref(), limit).await?;
    let next = found.items.last().filter(|_| found.more).map(|last| last.key.digest.to_string());
    let items = found.items.into_iter().map(|blob| Damaged::from(QuarantineEntry::from(blob))).collect();
    Ok(Json(Page { items, next }))
}
