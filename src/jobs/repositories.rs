//! The job that deletes and restores whole repositories on request, one batch at a time. It continues after a
//! restart.

use std::sync::Arc;

use async_trait::async_trait;

use super::Job;
use crate::registry::{Registry, ServiceError};

/// Deletes and restores repositories. Run it every second; when idle it only looks at an empty table.
pub struct RepositoryJob {
    registry: Arc<Registry>,
    batch: usize,
}

impl RepositoryJob {
    /// Creates the job for `registry`. A tick processes about `batch` manifests.
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
        let Some(step) = self.registry.advance_repository_work(self.batch).await? else {
            return Ok(false);
        };
        for (digest, _) in &step.missing {
            let repository = &step.work.repo;
            tracing::warn!(%repository, %digest, "manifest not restored; its content is missing");
        }
        for tag in &step.tags_in_use {
            tracing::warn!(repository = %step.work.repo, %tag, "tag not restored; it was reused meanwhile");
        }
        if step.finished {
            let work = &step.work;
            let kind = work.kind;
            tracing::info!(
                repository = %work.repo, ?kind, work.total, work.done, work.failed,
                "repository job finished"
            );
        }
        Ok(true)
    }
}
