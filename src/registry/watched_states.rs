//! The states of the budget, the disk and the clock, which are checked periodically, and which of their changes are
//! events.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::clock::Timestamp;
use crate::metadata::EventKind;

/// How long a better state must last before it becomes an event: a state that oscillates around a threshold has not
/// recovered yet.
const RECOVERY_TIME: Duration = Duration::from_secs(60);

/// The known states, each under the best state of its kind.
#[derive(Default)]
pub(super) struct States(Mutex<HashMap<EventKind, Watched>>);

#[derive(Default)]
struct Watched {
    /// The last state recorded by this process.
    recorded: Option<EventKind>,
    /// The better state it has been in since then, and since when by the monotonic clock and by the wall clock.
    better: Option<(EventKind, Duration, Timestamp)>,
}

impl States {
    /// Returns since when `state` holds, if it has to be recorded as an event.
    pub(super) fn event_since(
        &self,
        state: EventKind,
        elapsed: Duration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let states = state.states();
        let mut all = self.lock();
        let watched = all.entry(*states.first()?).or_default();
        let rank = |of| states.iter().position(|state| *state == of);
        let before = watched.recorded.map_or(Some(0), rank);
        if watched.recorded == Some(state) || rank(state) > before {
            watched.better = None;
            return (watched.recorded != Some(state)).then_some(now);
        }
        match watched.better {
            Some((seen, since, at)) if seen == state => {
                (elapsed.saturating_sub(since) >= RECOVERY_TIME).then_some(at)
            }
            _ => {
                watched.better = Some((state, elapsed, now));
                None
            }
        }
    }

    pub(super) fn set_recorded(&self, state: EventKind) {
        let best = state.states().first().copied().unwrap_or(state);
        self.lock().insert(best, Watched { recorded: Some(state), better: None });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EventKind, Watched>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventKind::{BudgetAmple, BudgetFull, BudgetHigh, DiskFull};

    const SECOND: Duration = Duration::from_secs(1);

    /// Checks a state after `seconds` and records it if it is new. Returns the time of the event.
    fn check(states: &States, state: EventKind, seconds: u32) -> Option<i64> {
        let since = states.event_since(state, seconds * SECOND, Timestamp(seconds.into()));
        if since.is_some() {
            states.set_recorded(state);
        }
        since.map(|at| at.0)
    }

    #[test]
    fn records_worse_states_at_once_and_better_ones_once_they_last() {
        let states = States::default();
        let checks = [
            (BudgetHigh, 1, Some(1)),
            (BudgetHigh, 2, None),
            (BudgetFull, 3, Some(3)),
            (BudgetHigh, 10, None),
            (BudgetAmple, 20, None),
            (BudgetAmple, 79, None),
            (BudgetAmple, 80, Some(20)),
            (BudgetAmple, 200, None),
            (DiskFull, 201, Some(201)),
        ];
        for (state, seconds, expected) in checks {
            assert_eq!(check(&states, state, seconds), expected, "{state} after {seconds} s");
        }
    }

    #[test]
    fn records_an_oscillating_state_once() {
        let states = States::default();
        let recorded = (0..1000).filter(|seconds| {
            let state = if seconds % 50 < 25 { BudgetHigh } else { BudgetAmple };
            check(&states, state, *seconds).is_some()
        });
        assert_eq!(recorded.count(), 1);
    }

    #[test]
    fn retries_a_state_that_could_not_be_recorded() {
        let states = States::default();
        for seconds in [1, 2] {
            let now = Timestamp(i64::from(seconds));
            assert_eq!(states.event_since(DiskFull, seconds * SECOND, now), Some(now));
        }
    }
}
