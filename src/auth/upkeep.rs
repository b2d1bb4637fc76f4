//! The background job that maintains the accounts.

use std::sync::Arc;

use async_trait::async_trait;

use super::access_control::AccessControl;
use crate::jobs::Job;
use crate::registry::ServiceError;

/// The background job that records when tokens and sessions were used, and removes those that have ended.
pub struct AccountUpkeep(Arc<AccessControl>);

impl AccountUpkeep {
    /// Creates the job.
    pub fn new(access_control: Arc<AccessControl>) -> Self {
        Self(access_control)
    }
}

#[async_trait]
impl Job for AccountUpkeep {
    fn name(&self) -> &'static str {
        "accounts"
    }

    async fn tick(&self) -> std::result::Result<bool, ServiceError> {
        self.0.flush_uses().await?;
        Ok(false)
    }
}
