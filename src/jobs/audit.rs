//! The job that writes the audit log to the database and removes old entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;

use super::Job;
use crate::registry::{Registry, ServiceError};

/// Old entries are removed once in this many ticks.
const CLEANUP_TICKS: u32 = 60;

/// Writes the audit log. Run it every second.
pub struct AuditUpkeep {
    registry: Arc<Registry>,
    ticks: AtomicU32,
}

impl AuditUpkeep {
    /// Creates the job for `registry`.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, ticks: AtomicU32::new(0) }
    }
}

#[async_trait]
impl Job for AuditUpkeep {
    fn name(&self) -> &'static str {
        "audit"
    }

    async fn tick(&self) -> Result<bool, ServiceError> {
        self.registry.flush_audit(false).await?;
        let is_cleanup_due = self.ticks.fetch_add(1, Ordering::Relaxed).is_multiple_of(CLEANUP_TICKS);
        if is_cleanup_due && !self.registry.settings().read_only {
            self.registry.forget_audit().await?;
        }
        Ok(false)
    }
}
