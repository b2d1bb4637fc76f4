//! Who was refused at the budget a moment ago.
//!
//! A client pushes an image layer by layer. When one layer has waited in vain for room, the next ones are refused at
//! once, until space was freed or some time has passed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Requester;

/// For how long a refusal is remembered: longer than clients pause before they retry.
const REFUSAL_TTL: Duration = Duration::from_secs(60);

/// How many refusals are remembered. Clients beyond that wait again.
const MAX_REFUSALS: usize = 1024;

/// The refusals that still hold.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Requester, Refusal>>);

#[derive(Clone, Copy)]
struct Refusal {
    /// Until when it holds, by the monotonic clock.
    until: Duration,
    /// How often space had been freed by then.
    freed: u64,
}

impl Refusals {
    /// Remembers that this requester waited in vain. `freed` is how often space has been freed.
    pub(super) fn remember(&self, requester: &Requester, now: Duration, freed: u64) {
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= MAX_REFUSALS {
            refusals.retain(|_, refusal| refusal.holds(now, freed));
        }
        if refusals.len() < MAX_REFUSALS || refusals.contains_key(requester) {
            refusals.insert(requester.clone(), Refusal { until: now.saturating_add(REFUSAL_TTL), freed });
        }
    }

    /// Whether this requester would wait in vain again.
    pub(super) fn holds(&self, requester: &Requester, now: Duration, freed: u64) -> bool {
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = refusals.get(requester).is_some_and(|refusal| refusal.holds(now, freed));
        if !holds {
            refusals.remove(requester);
        }
        holds
    }
}

impl Refusal {
    fn holds(&self, now: Duration, freed: u64) -> bool {
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
    fn a_refusal_holds_until_space_is_freed_or_time_passes() {
        let refusals = Refusals::default();
        let later = Duration::from_secs(59);
        refusals.remember(&requester(1), Duration::ZERO, 7);
        assert!(refusals.holds(&requester(1), later, 7));
        assert!(!refusals.holds(&requester(2), later, 7));
        assert!(!refusals.holds(&requester(1), later, 8));
        assert!(!refusals.holds(&requester(1), later, 7), "it is forgotten once it no longer holds");
        refusals.remember(&requester(1), Duration::ZERO, 7);
        assert!(!refusals.holds(&requester(1), REFUSAL_TTL, 7));
    }

    #[test]
    fn refusals_are_bounded_in_number() {
        let refusals = Refusals::default();
        for user in 0..MAX_REFUSALS + 10 {
            refusals.remember(&requester(user), Duration::ZERO, 0);
        }
        assert_eq!(refusals.0.lock().expect("sound").len(), MAX_REFUSALS);
        refusals.remember(&requester(MAX_REFUSALS), REFUSAL_TTL, 0);
        assert_eq!(refusals.0.lock().expect("sound").len(), 1);
    }
}
