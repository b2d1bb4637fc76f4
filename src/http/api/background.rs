//! Background work: its last and next runs, and running it now.

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::InPath;
use super::problem::{ChangeErrors, Errors};
use super::rights::{RegistryAdmin, RegistryReader};
use super::routes::{Routes, routes};
use super::{Problem, Time};
use crate::jobs::scrub::{ScrubFigures, ScrubState};
use crate::jobs::{self, BackgroundReport, Collected, JobState};
use crate::metadata::RetentionRun;

/// The jobs that run in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BackgroundWork)]
pub struct Background {
    /// The garbage collector.
    pub collector: CollectorJob,
    /// The retention policies.
    pub retention: RetentionJob,
    /// The scrub.
    pub scrub: ScrubJob,
}

/// The runs of a job since the server started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobRuns {
    /// Whether it is running.
    pub running: bool,
    /// When the last run started.
    #[schema(required)]
    pub started_at: Option<Time>,
    /// When the last run ended.
    #[schema(required)]
    pub finished_at: Option<Time>,
    /// Whether the last run failed; the log of the registry has the cause.
    pub failed: bool,
    /// When the next run starts; `null` while it is running, and if nothing runs it, as on a read-only store.
    #[schema(required)]
    pub next_at: Option<Time>,
}

/// The garbage collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CollectorJob {
    /// Its runs.
    pub runs: JobRuns,
    /// Why nothing expires, if expiry is paused.
    #[schema(required)]
    pub paused: Option<String>,
    /// What the last run removed.
    pub last: CollectedContent,
    /// What all runs since the server started removed.
    pub total: CollectedContent,
}

/// What the garbage collector removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CollectedContent {
    /// Idle uploads that expired.
    pub uploads: u64,
    /// Manifests moved to the trash because nothing referenced them.
    pub manifests_expired: u64,
    /// Manifests removed from the trash.
    pub manifests_purged: u64,
    /// Blobs removed from repositories.
    pub links: u64,
    /// Blobs removed from the disk.
    pub blobs: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// The retention policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionJob {
    /// Its runs.
    pub runs: JobRuns,
    /// Why nothing expires, if expiry is paused.
    #[schema(required)]
    pub paused: Option<String>,
    /// The last run that removed something.
    #[schema(required)]
    pub last: Option<RetentionResult>,
}

/// What a run of the policies removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionResult {
    /// When it ended.
    pub ended_at: Time,
    /// The number of removed tags.
    pub tags: u64,
    /// The number of manifests moved to the trash.
    pub manifests: u64,
    /// The number of steps skipped because something had changed.
    pub skipped: u64,
}

/// The scrub, which reads and verifies everything that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubJob {
    /// Whether passes follow each other in the background.
    pub scheduled: bool,
    /// Whether a pass at full speed was requested and has not ended.
    pub requested: bool,
    /// When the current pass began.
    pub began_at: Time,
    /// What the current pass has read so far.
    pub progress: ScrubbedContent,
    /// The size of all blobs in bytes.
    pub total_bytes: u64,
    /// When the last complete pass ended.
    #[schema(required)]
    pub finished_at: Option<Time>,
    /// What the last complete pass since the server started read.
    #[schema(required)]
    pub last: Option<ScrubbedContent>,
    /// Why it is paused, if it is.
    #[schema(required)]
    pub paused: Option<String>,
}

/// What a pass of the scrub read and found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubbedContent {
    /// The number of blobs.
    pub blobs: u64,
    /// Their size in bytes.
    pub blob_bytes: u64,
    /// The number of manifests.
    pub manifests: u64,
    /// The number of problems found.
    pub problems: u64,
}

/// A job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobName {
    /// The garbage collector.
    Collector,
    /// The retention policies.
    Retention,
    /// The scrub.
    Scrub,
}

/// The path parameters of a job.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct JobPath {
    /// The job.
    #[param(inline)]
    job: JobName,
}

impl From<JobName> for jobs::BackgroundJob {
    fn from(name: JobName) -> Self {
        match name {
            JobName::Collector => Self::Collector,
            JobName::Retention => Self::Retention,
            JobName::Scrub => Self::Scrub,
        }
    }
}

impl From<BackgroundReport> for Background {
    fn from(report: BackgroundReport) -> Self {
        Self {
            collector: CollectorJob {
                runs: report.collector_runs.into(),
                paused: report.collector.paused,
                last: report.collector.last.into(),
                total: report.collector.total.into(),
            },
            retention: RetentionJob {
                runs: report.retention_runs.into(),
                paused: report.retention.paused,
                last: report.last_retention.map(RetentionResult::from),
            },
            scrub: report.scrub.into(),
        }
    }
}

impl From<JobState> for JobRuns {
    fn from(JobState { running, started_at, finished_at, error, next_at }: JobState) -> Self {
        Self {
            running,
            started_at: started_at.map(Time),
            finished_at: finished_at.map(Time),
            failed: error.is_some(),
            next_at: next_at.map(Time),
        }
    }
}

impl From<Collected> for CollectedContent {
    fn from(collected: Collected) -> Self {
        let Collected { uploads, manifests_expired, manifests_purged, links, blobs, bytes } = collected;
        Self { uploads, manifests_expired, manifests_purged, links, blobs, bytes }
    }
}

impl From<RetentionRun> for RetentionResult {
    fn from(run: RetentionRun) -> Self {
        let RetentionRun { ended_at, tags, manifests, skipped, .. } = run;
        Self { ended_at: ended_at.into(), tags, manifests, skipped }
    }
}

impl From<ScrubState> for ScrubJob {
    fn from(state: ScrubState) -> Self {
        Self {
            scheduled: state.scheduled,
            requested: state.requested,
            began_at: state.began_at.into(),
            progress: state.progress.into(),
            total_bytes: state.total_bytes,
            finished_at: state.finished_at.map(Time),
            last: state.last_pass.map(ScrubbedContent::from),
            paused: state.paused,
        }
    }
}

impl From<ScrubFigures> for ScrubbedContent {
    fn from(figures: ScrubFigures) -> Self {
        let ScrubFigures { blobs, blob_bytes, manifests, problems } = figures;
        Self { blobs, blob_bytes, manifests, problems }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(get)).routes(routes!(run))
}

/// Returns the last and next runs of the jobs that run in the background, and what they did.
#[utoipa::path(
    get, path = "/background", operation_id = "getBackground", tag = "background",
    responses((status = OK, description = "The jobs.", body = Background), Errors)
)]
async fn get(registry_reader: RegistryReader) -> Result<Json<Background>, Problem> {
    Ok(Json(registry_reader.background().await?.into()))
}

/// Runs a job now, without waiting for its end: its next run starts at once, or the scrub starts a pass at full speed.
/// Nothing changes if it is running.
#[utoipa::path(
    post, path = "/background/{job}/run", operation_id = "runJob", tag = "background", params(JobPath),
    responses((status = ACCEPTED, description = "The job runs."), Errors, ChangeErrors)
)]
async fn run(
    registry_admin: RegistryAdmin,
    InPath(JobPath { job }): InPath<JobPath>,
) -> Result<StatusCode, Problem> {
    registry_admin.run_job(job.into())?;
    Ok(StatusCode::ACCEPTED)
}
