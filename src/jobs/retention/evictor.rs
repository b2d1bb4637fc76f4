//! Eviction by retention policies while the store is nearly full.

use async_trait::async_trait;

use super::{Retention, RetentionError};
use crate::jobs::{Evicted, Evictor, SpaceGoal};
use crate::registry::ServiceError;

#[async_trait]
impl Evictor for Retention {
    async fn evict(&self, goal: &dyn SpaceGoal) -> Result<Evicted, ServiceError> {
        let applied = self.apply_under_pressure(|done| {
            let evicted = done.manifests;
            async move { goal.is_reached(evicted).await }
        });
        match applied.await {
            Ok(done) => Ok(Evicted { tags: done.tags, manifests: done.manifests }),
            Err(RetentionError::Service(error)) => Err(error),
            // The policies are broken or the clock is not trusted: the log and the metrics report that.
            Err(_) => Ok(Evicted::default()),
        }
    }

    fn policies(&self) -> Vec<String> {
        let in_force = self.policies.in_force();
        in_force.policies.iter().map(|(policy, _)| policy.name_or_preset().to_owned()).collect()
    }
}
