//! The stored plans: the newest ones, which can be fetched again or applied.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use super::plan::PlanReport;

/// The maximum number of stored plans. It is more than one, so that a new plan does not displace one that another
/// user is about to apply.
const MAX_PLANS: usize = 8;

/// The newest plans.
#[derive(Debug, Default)]
pub(super) struct StoredPlans(VecDeque<Arc<PlanReport>>);

impl StoredPlans {
    /// Stores a plan, and drops the oldest ones beyond the limits of number and bytes. The newest plan is stored
    /// whatever its size.
    pub(super) fn store(&mut self, plan: Arc<PlanReport>, max_bytes: usize) {
        self.0.push_back(plan);
        while self.0.len() > 1 && (self.0.len() > MAX_PLANS || self.bytes() > max_bytes) {
            self.0.pop_front();
        }
    }

    /// Returns the plan with this id, if it is stored.
    pub(super) fn get(&self, id: Uuid) -> Option<Arc<PlanReport>> {
        self.0.iter().find(|plan| plan.id == id).map(Arc::clone)
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|plan| plan.weight()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::jobs::retention::{InForce, RepoRows, Row};
    use crate::oci::{Algorithm, Hasher};
    use crate::retention::{Decision, KeepReason};

    fn plan(rows: usize) -> Arc<PlanReport> {
        let digest = Hasher::digest(Algorithm::Sha256, b"a");
        let decision = Decision::Keep { by: vec![KeepReason::NoRule] };
        let row = Row { tag: None, digest, decision, at: Timestamp(0), step: None };
        let repo = RepoRows::new("app".parse().expect("a name"), vec![row; rows], Vec::new());
        Arc::new(PlanReport::new(&InForce::default(), Timestamp(0), false, vec![repo]))
    }

    #[test]
    fn drops_old_plans_beyond_the_size_limit_but_keeps_the_newest() {
        let small = plan(1);
        let large = plan(10);
        let huge = plan(11);
        let mut plans = StoredPlans::default();
        let max = large.weight();
        let is_stored = |plans: &StoredPlans, plan: &PlanReport| plans.get(plan.id).is_some();
        plans.store(Arc::clone(&small), max);
        plans.store(Arc::clone(&large), max);
        assert!(!is_stored(&plans, &small) && is_stored(&plans, &large));
        plans.store(Arc::clone(&huge), max);
        assert!(!is_stored(&plans, &large) && is_stored(&plans, &huge));
        plans.store(Arc::clone(&small), max);
        assert!(!is_stored(&plans, &huge) && is_stored(&plans, &small));
    }
}
