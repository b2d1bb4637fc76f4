//! The plans that can be asked for again, or applied.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use super::plan::PlanReport;

/// How many plans are held: whoever makes one must not take away what another one is about to apply.
const MOST_PLANS: usize = 8;

/// The newest plans.
#[derive(Debug, Default)]
pub(super) struct HeldPlans(VecDeque<Arc<PlanReport>>);

impl HeldPlans {
    /// Holds a plan, and lets the oldest go that there is no room for within so many bytes. The newest is held whatever
    /// it takes.
    pub(super) fn hold(&mut self, plan: Arc<PlanReport>, most_bytes: usize) {
        self.0.push_back(plan);
        while self.0.len() > 1 && (self.0.len() > MOST_PLANS || self.bytes() > most_bytes) {
            self.0.pop_front();
        }
    }

    /// The plan of this id, if it is held.
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
        let decision = Decision::Keep { by: vec![KeepReason::Unnamed] };
        let row = Row { tag: None, digest, decision, at: Timestamp(0), step: None };
        let repo = RepoRows::new("app".parse().expect("a name"), vec![row; rows], Vec::new());
        Arc::new(PlanReport::new(&InForce::default(), Timestamp(0), false, vec![repo]))
    }

    #[test]
    fn large_plans_are_few_and_the_newest_stays() {
        let (small, large, huge) = (plan(1), plan(10), plan(11));
        let mut held = HeldPlans::default();
        let most = large.weight();
        let is_held = |held: &HeldPlans, plan: &PlanReport| held.get(plan.id).is_some();
        held.hold(Arc::clone(&small), most);
        held.hold(Arc::clone(&large), most);
        assert!(!is_held(&held, &small) && is_held(&held, &large));
        held.hold(Arc::clone(&huge), most);
        assert!(!is_held(&held, &large) && is_held(&held, &huge));
        held.hold(Arc::clone(&small), most);
        assert!(!is_held(&held, &huge) && is_held(&held, &small));
    }
}
