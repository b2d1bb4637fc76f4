//! Events of what is watched: the budget, the disk and the clock, whose states are looked at again and again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{ClockState, Registry, ServiceError};
use crate::clock::Timestamp;
use crate::metadata::{EventDetails, EventKind};

/// How long a state must be better before that is an event: what goes to and fro around a mark is not over yet.
const CALM: Duration = Duration::from_secs(60);

/// How many events are forgotten at once.
const FORGOTTEN: usize = 1000;

/// What is known of all that is watched, each by its best state.
#[derive(Default)]
pub(super) struct States(Mutex<HashMap<EventKind, Watched>>);

#[derive(Default)]
struct Watched {
    /// What was recorded last, by this process.
    recorded: Option<EventKind>,
    /// Which better state it has been in since then, by the monotonic clock and by the wall clock.
    better: Option<(EventKind, Duration, Timestamp)>,
}

impl States {
    /// Since when `state` is worth an event, if it is.
    fn news(&self, state: EventKind, elapsed: Duration, now: Timestamp) -> Option<Timestamp> {
        let (states, mut all) = (state.states(), self.lock());
        let watched = all.entry(*states.first()?).or_default();
        let rank = |of| states.iter().position(|state| *state == of);
        let before = watched.recorded.map_or(Some(0), rank);
        if watched.recorded == Some(state) || rank(state) > before {
            watched.better = None;
            return (watched.recorded != Some(state)).then_some(now);
        }
        match watched.better {
            Some((seen, since, at)) if seen == state => (elapsed.saturating_sub(since) >= CALM).then_some(at),
            _ => {
                watched.better = Some((state, elapsed, now));
                None
            }
        }
    }

    fn note(&self, state: EventKind) {
        let best = state.states().first().copied().unwrap_or(state);
        self.lock().insert(best, Watched { recorded: Some(state), better: None });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EventKind, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Records the state that something watched is in, if that is news: at once where it is worse, and after a
    /// while where it is better. To be called at every look. What cannot be recorded is at the next one.
    pub async fn note_state(&self, state: EventDetails) {
        if self.settings.read_only {
            return;
        }
        let (kind, elapsed) = (state.kind(), self.clock.elapsed());
        let Some(since) = self.states.news(kind, elapsed, self.clock.now()) else {
            return;
        };
        match self.metadata.note_state(since, state).await {
            Ok(_) => self.states.note(kind),
            Err(error) => tracing::debug!(%error, %kind, "an event could not be recorded; it is tried again"),
        }
    }

    /// Looks at the clock, and records whether it is trusted.
    ///
    /// # Errors
    /// [`ServiceError`] if it could not be looked at.
    pub async fn watch_clock(&self) -> Result<(), ServiceError> {
        let state = match self.clock_state().await? {
            ClockState::Trusted => EventDetails::ClockTrusted {},
            ClockState::Suspect(reason) => EventDetails::ClockSuspect { reason },
        };
        self.note_state(state).await;
        Ok(())
    }

    /// Forgets old events, unless the clock is not trusted, and those that are too many.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn forget_events(&self) -> Result<(), ServiceError> {
        let trusted = self.clock_state().await? == ClockState::Trusted;
        let cutoff = trusted.then(|| self.clock.now().minus(self.settings.events_keep));
        while self.metadata.forget_events(cutoff, self.settings.events_most, FORGOTTEN).await?.more {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventKind::{BudgetAmple, BudgetFull, BudgetHigh, DiskFull};

    const SECOND: Duration = Duration::from_secs(1);

    /// What becomes of a look after so many seconds, where what is news is recorded.
    fn look(states: &States, state: EventKind, seconds: u32) -> Option<i64> {
        let news = states.news(state, seconds * SECOND, Timestamp(seconds.into()));
        if news.is_some() {
            states.note(state);
        }
        news.map(|at| at.0)
    }

    #[test]
    fn what_is_worse_is_told_at_once_and_what_is_better_when_it_lasts() {
        let states = States::default();
        let looks = [
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
        for (state, seconds, told) in looks {
            assert_eq!(look(&states, state, seconds), told, "{state} after {seconds} s");
        }
    }

    #[test]
    fn what_goes_to_and_fro_is_told_once() {
        let states = States::default();
        let told = (0..1000).filter(|seconds| {
            let state = if seconds % 50 < 25 { BudgetHigh } else { BudgetAmple };
            look(&states, state, *seconds).is_some()
        });
        assert_eq!(told.count(), 1);
    }

    #[test]
    fn what_could_not_be_recorded_is_told_again() {
        let states = States::default();
        for seconds in [1, 2] {
            let now = Timestamp(i64::from(seconds));
            assert_eq!(states.news(DiskFull, seconds * SECOND, now), Some(now));
        }
    }
}
