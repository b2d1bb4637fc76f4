//! Background work as an administrator sees it: the last and next runs of the collector, retention and the scrub.

use std::sync::Arc;

use super::retention::RetentionStatus;
use super::schedule::JobState;
use super::scrub::ScrubState;
use super::{Collector, CollectorStatus, Retention, Scrub};
use crate::metadata::{Metadata, RetentionRun};
use crate::registry::ServiceError;

/// A job that can be run on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackgroundJob {
    /// The garbage collector.
    Collector,
    /// Applies the retention policies.
    Retention,
    /// Reads and verifies everything that is stored.
    Scrub,
}

/// The state of background work.
#[derive(Debug, Clone)]
pub struct BackgroundReport {
    /// The runs of the collector.
    pub collector_runs: JobState,
    /// What the collector did.
    pub collector: CollectorStatus,
    /// The runs of retention.
    pub retention_runs: JobState,
    /// What retention did.
    pub retention: RetentionStatus,
    /// The last run of retention that removed something, also from before the program started.
    pub last_retention: Option<RetentionRun>,
    /// The passes of the scrub.
    pub scrub: ScrubState,
}

/// The jobs that run in the background.
pub struct Background {
    metadata: Arc<Metadata>,
    collector: Arc<Collector>,
    retention: Arc<Retention>,
    scrub: Arc<Scrub>,
}

impl Background {
    /// Collects the jobs of a registry with this metadata.
    pub fn new(
        metadata: Arc<Metadata>,
        collector: Arc<Collector>,
        retention: Arc<Retention>,
        scrub: Arc<Scrub>,
    ) -> Self {
        Self { metadata, collector, retention, scrub }
    }

    /// Reports what the jobs did and when they run next.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn report(&self) -> Result<BackgroundReport, ServiceError> {
        let last = self.metadata.retention_runs(None, 1).await?;
        Ok(BackgroundReport {
            collector_runs: self.collector.schedule().state(),
            collector: self.collector.status(),
            retention_runs: self.retention.schedule().state(),
            retention: self.retention.status(),
            last_retention: last.items.into_iter().next(),
            scrub: self.scrub.state().await?,
        })
    }

    /// Runs a job now: its next run starts at once, or the scrub starts a pass at full speed. Returns `false` if nothing
    /// runs the job: on a stopped store and, except for the scrub, on a read-only one.
    pub fn run_now(&self, job: BackgroundJob) -> bool {
        match job {
            BackgroundJob::Collector => self.collector.schedule().request_run(),
            BackgroundJob::Retention => self.retention.schedule().request_run(),
            BackgroundJob::Scrub => self.scrub.request_pass(),
        }
    }
}
