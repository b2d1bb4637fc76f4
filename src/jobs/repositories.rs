//! Deletes and restores repositories that somebody asked for, a batch at a time, also after a restart.

use std::sync::Arc;

use async_trait::async_trait;

use super::Job;
use crate::registry::{Registry, ServiceError};

/// The job. Meant to be run every second: it costs a look at an empty table.
pub struct RepositoryJob {
    registry: Arc<Registry>,
    batch: usize,
}

impl RepositoryJob {
    /// The job of `registry`, which takes about `batch` manifests at once.
    pub fn new(registry: Arc<Registry>, batch: usize) -> Self {
        Self { registry, batch }
    }
}

#[async_trait]
impl Job for RepositoryJob {
    fn name(&self) -> &'static str {
        "repositories"
    }

    async fn tick(&self) -> Result<bool, ServiceError> {
        let Some(step) = self.registry.advance_repositories(self.batch).await? else {
            return Ok(false);
        };
        for (digest, _) in &step.missing {
            tracing::warn!(repository = %step.work.repo, %digest, "missing for a manifest that does not come back");
        }
        for tag in &step.taken {
            tracing::warn!(repository = %step.work.repo, %tag, "was used again meanwhile and stays as it is");
        }
        if step.finished {
            let (work, kind) = (&step.work, step.work.kind);
            tracing::info!(repository = %work.repo, ?kind, work.total, work.done, work.failed, "finished");
        }
        Ok(true)
    }
}
