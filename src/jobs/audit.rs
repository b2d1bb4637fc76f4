//! Writing down the audit log, and forgetting what of it is old.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;

use super::Job;
use crate::registry::{Registry, ServiceError};

/// How often old entries are looked for, in ticks.
const RARELY: u32 = 60;

/// Writes the audit log. Meant to be run every second.
pub struct AuditUpkeep {
    registry: Arc<Registry>,
    ticks: AtomicU32,
}

impl AuditUpkeep {
    /// That of `registry`.
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
        let rarely = self.ticks.fetch_add(1, Ordering::Relaxed).is_multiple_of(RARELY);
        if rarely && !self.registry.settings().read_only {
            self.registry.forget_audit().await?;
        }
        Ok(false)
    }
}
