//! Remembers which requesters were recently rejected because the budget is exhausted.
//!
//! A client pushes an image layer by layer. When one layer has waited in vain for space, the next ones are rejected at
//! once, until space has been freed or some time has passed.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::Requester;

/// How long a rejection is remembered: longer than clients pause before they retry.
const REFUSAL_TTL: Duration = Duration::from_secs(60);

/// How many rejections are remembered. Further clients wait again.
const MAX_REFUSALS: usize = 1024;

/// The rejections still in force.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Requester, Refusal>>);

#[derive(Clone, Copy)]
struct Refusal {
    /// Until when it is in force, by the monotonic clock.
    until: Duration,
    /// How often space had been freed at that time.
    freed: u64,
}

impl Refusals {
    /// Remembers that this requester has waited in vain. `freed` is how often space has been freed.
    pub(super) fn remember(&self, requester: &Requester, now: Duration, freed: u64) {
        let mut refusals = self.0.lock();
        if refusals.len() >= MAX_REFUSALS {
            refusals.retain(|_, refusal| refusal.is_in_force(now, freed));
        }
        if refusals.len() < MAX_REFUSALS || refusals.contains_key(requester) {
            refusals.insert(requester.clone(), Refusal { until: now.saturating_add(REFUSAL_TTL), freed });
        }
    }

    /// Returns whether this requester would wait in vain again.
    pub(super) fn is_in_force(&self, requester: &Requester, now: Duration, freed: u64) -> bool {
        let mut refusals = self.0.lock();
        let is_in_force = refusals.get(requester).is_some_and(|refusal| refusal.is_in_force(now, freed));
        if !is_in_force {
            refusals.remove(requester);
        }
        is_in_force
    }
}

impl Refusal {
    fn is_in_force(&self, now: Duration, freed: u64) -> bool {
        now < self.until && self.freed == freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fair::Client;

    fn requester(user: usize) -> Requester {
        Requester { client: Client::User(user.to_string().into()), repo: "app".parse().expect("a name") }
    }

    #[test]
    fn a_rejection_is_in_force_until_space_is_freed_or_time_passes() {
        let refusals = Refusals::default();
        let later = Duration::from_secs(59);
        refusals.remember(&requester(1), Duration::ZERO, 7);
        assert!(refusals.is_in_force(&requester(1), later, 7));
        assert!(!refusals.is_in_force(&requester(2), later, 7));
        assert!(!refusals.is_in_force(&requester(1), later, 8));
        assert!(!refusals.is_in_force(&requester(1), later, 7), "a rejection is forgotten once it has ended");
        refusals.remember(&requester(1), Duration::ZERO, 7);
        assert!(!refusals.is_in_force(&requester(1), REFUSAL_TTL, 7));
    }

    #[test]
    fn the_number_of_remembered_rejections_is_limited() {
        let refusals = Refusals::default();
        for user in 0..MAX_REFUSALS + 10 {
            refusals.remember(&requester(user), Duration::ZERO, 0);
        }
        assert_eq!(refusals.0.lock().len(), MAX_REFUSALS);
        refusals.remember(&requester(MAX_REFUSALS), REFUSAL_TTL, 0);
        assert_eq!(refusals.0.lock().len(), 1);
    }
}
