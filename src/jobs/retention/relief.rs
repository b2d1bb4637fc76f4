//! What policies let go while the store is nearly full.

use async_trait::async_trait;

use super::{Retention, RetentionError};
use crate::jobs::{Need, Relief, Relieved};
use crate::registry::ServiceError;

#[async_trait]
impl Relief for Retention {
    async fn relieve(&self, need: &dyn Need) -> Result<Relieved, ServiceError> {
        let applied = self.apply_under_pressure(|done| {
            let gone = done.manifests;
            async move { need.is_met(gone).await }
        });
        match applied.await {
            Ok(done) => Ok(Relieved { tags: done.tags, manifests: done.manifests }),
            Err(RetentionError::Service(fault)) => Err(fault),
            // Policies or the clock cannot be trusted: the log and the metrics tell.
            Err(_) => Ok(Relieved::default()),
        }
    }

    fn policies(&self) -> Vec<String> {
        let in_force = self.book.in_force();
        in_force.policies.iter().map(|(policy, _)| policy.called().to_owned()).collect()
    }
}
