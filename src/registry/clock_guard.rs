//! Watches the clock: nothing expires while it cannot be trusted.
//!
//! A small machine often has no clock of its own: it starts where it ended, or in 1970, and jumps when the
//! network tells it the time. What was pushed before that jump would be as old as the machine was off, and go
//! as soon as anything expires again. So what was stamped since the clock began to run evenly moves with it,
//! as long as that was less than a day ago. It never moves back: what seems too young is only kept for longer.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Registry, ServiceError};
use crate::clock::{Clock, Timestamp};
use crate::metadata::ClockJump;

/// By how much wall clock and monotonic clock may disagree, and by how much the wall clock may be behind the
/// recorded time.
const TOLERANCE: Duration = Duration::from_secs(60 * 60);

/// How long a server may have been away before its clock is doubted.
const AWAY: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// For how long the clock must run evenly before it is trusted again.
const PROBATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether times may be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClockState {
    /// They may.
    Trusted,
    /// They may not, for this reason: everything that expires pauses.
    Suspect(String),
}

/// Compares the wall clock with the monotonic clock and with the last recorded time.
pub(super) struct ClockGuard {
    seen: Mutex<Seen>,
}

struct Seen {
    /// When the clock began to run evenly,
    began: Moment,
    /// and when it was last looked at.
    last: Moment,
    /// It was compared with what was recorded before the start.
    compared: bool,
    /// When, by the monotonic clock, it was last found wrong, and how.
    doubt: Option<(Duration, String)>,
    /// Jumps with which the times in the metadata have not moved yet.
    jumps: Vec<ClockJump>,
}

/// A time by both clocks.
#[derive(Clone, Copy)]
struct Moment {
    wall: Timestamp,
    elapsed: Duration,
}

impl ClockGuard {
    /// A guard that watches `clock` from now on.
    pub(super) fn of(clock: &dyn Clock) -> Self {
        let now = Moment::of(clock);
        let seen = Seen { began: now, last: now, compared: false, doubt: None, jumps: Vec::new() };
        Self { seen: Mutex::new(seen) }
    }

    /// Looks at the clock. `recorded` is the latest time in the metadata.
    pub(super) fn look(&self, clock: &dyn Clock, recorded: Option<Timestamp>) -> ClockState {
        self.lock().look(Moment::of(clock), recorded)
    }

    /// The jumps with which times have yet to move: the caller's from now on.
    fn take_jumps(&self) -> Vec<ClockJump> {
        std::mem::take(&mut self.lock().jumps)
    }

    /// These have still to be moved with.
    fn give_back(&self, jumps: impl IntoIterator<Item = ClockJump>) {
        let mut seen = self.lock();
        let later = std::mem::take(&mut seen.jumps);
        seen.jumps = jumps.into_iter().chain(later).collect();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moment {
    fn of(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), elapsed: clock.elapsed() }
    }
}

impl Seen {
    fn look(&mut self, now: Moment, recorded: Option<Timestamp>) -> ClockState {
        let expected = self.last.wall.plus(now.elapsed.saturating_sub(self.last.elapsed));
        if now.wall.since(expected).max(expected.since(now.wall)) > TOLERANCE {
            self.jumped(expected, now);
        }
        self.last = now;
        let away = recorded.map_or(Duration::ZERO, |recorded| now.wall.since(recorded));
        if !self.compared && away > AWAY {
            let away = in_words(away);
            self.doubt = Some((now.elapsed, format!("the last recorded time is {away} ago")));
        }
        self.compared = true;
        self.state(now, recorded)
    }

    fn jumped(&mut self, expected: Timestamp, now: Moment) {
        let (on, back) = (now.wall.since(expected), expected.since(now.wall));
        self.doubt = Some((now.elapsed, format!("the clock jumped by {}", in_words(on.max(back)))));
        if on > back && now.elapsed.saturating_sub(self.began.elapsed) < PROBATION {
            self.jumps.push(ClockJump { from: self.began.wall, until: expected, by: on });
        }
        self.began = now;
    }

    fn state(&self, now: Moment, recorded: Option<Timestamp>) -> ClockState {
        if let Some(recorded) = recorded
            && recorded.since(now.wall) > TOLERANCE
        {
            let behind = in_words(recorded.since(now.wall));
            return ClockState::Suspect(format!("the clock is {behind} behind the last recorded time"));
        }
        match &self.doubt {
            Some((at, what)) if now.elapsed.saturating_sub(*at) < PROBATION => {
                ClockState::Suspect(format!("{what}; the clock is trusted when it ran evenly for a day"))
            }
            _ if self.jumps.is_empty() => ClockState::Trusted,
            _ => ClockState::Suspect("what was pushed before the clock jumped is not dated anew yet".into()),
        }
    }
}

impl Registry {
    /// Whether times may be compared now. Where the clock was put right, what was dated by the wrong one is
    /// dated anew first.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn clock_state(&self) -> Result<ClockState, ServiceError> {
        let recorded = self.metadata.recorded_time().await?;
        let state = self.clock_guard.look(self.clock.as_ref(), recorded);
        if state != ClockState::Trusted && !self.settings.read_only {
            self.follow_the_clock().await?;
        }
        Ok(state)
    }

    async fn follow_the_clock(&self) -> Result<(), ServiceError> {
        let mut jumps = self.clock_guard.take_jumps().into_iter();
        while let Some(jump) = jumps.next() {
            let moved = async {
                // Those that are not written down were seen by the wrong clock too.
                self.flush_pulls().await?;
                Ok::<_, ServiceError>(self.metadata.follow_jump(jump).await?)
            };
            if let Err(error) = moved.await {
                self.clock_guard.give_back(std::iter::once(jump).chain(jumps));
                return Err(error);
            }
            self.leases_refreshed();
            let by = in_words(jump.by);
            tracing::warn!(%by, "the clock was put right: what was pushed since the start is dated anew");
        }
        Ok(())
    }
}

fn in_words(span: Duration) -> String {
    humantime::format_duration(Duration::from_secs(span.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn watched(clock: ManualClock) -> (ClockGuard, ManualClock) {
        (ClockGuard::of(&clock), clock)
    }

    #[test]
    fn an_even_clock_is_trusted() {
        let (guard, clock) = watched(ManualClock::at(Timestamp(0)));
        for _ in 0..100 {
            clock.advance(2 * HOUR);
            assert_eq!(guard.look(&clock, Some(clock.now().minus(HOUR))), ClockState::Trusted);
        }
    }

    #[test]
    fn a_jump_suspends_trust_for_a_day() {
        for target in [0, 10 * 3_600_000] {
            let (guard, clock) = watched(ManualClock::at(Timestamp(5 * 3_600_000)));
            guard.look(&clock, None);
            clock.jump_to(Timestamp(target));
            assert!(matches!(guard.look(&clock, None), ClockState::Suspect(_)));
            clock.advance(23 * HOUR);
            assert!(matches!(guard.look(&clock, None), ClockState::Suspect(_)));
            clock.advance(2 * HOUR);
            guard.take_jumps();
            assert_eq!(guard.look(&clock, None), ClockState::Trusted);
        }
    }

    #[test]
    fn what_was_dated_on_probation_moves_on_with_the_clock() {
        let (guard, clock) = watched(ManualClock::at(Timestamp(0)));
        guard.look(&clock, None);
        clock.advance(HOUR);
        clock.jump_to(Timestamp(100 * 3_600_000));
        guard.look(&clock, None);
        let jump = ClockJump { from: Timestamp(0), until: Timestamp(3_600_000), by: 99 * HOUR };
        assert_eq!(guard.take_jumps(), [jump]);
        assert_eq!(guard.take_jumps(), []);
    }

    #[test]
    fn nothing_moves_back_nor_after_a_day_of_even_running() {
        let (guard, clock) = watched(ManualClock::at(Timestamp(100 * 3_600_000)));
        guard.look(&clock, None);
        clock.jump_to(Timestamp(0));
        guard.look(&clock, None);
        clock.advance(25 * HOUR);
        guard.look(&clock, None);
        clock.jump_to(Timestamp(100 * 3_600_000));
        assert!(matches!(guard.look(&clock, None), ClockState::Suspect(_)));
        assert_eq!(guard.take_jumps(), []);
    }

    #[test]
    fn a_server_that_was_away_for_long_doubts_its_clock() {
        let (guard, clock) = watched(ManualClock::at(Timestamp(0).plus(2 * AWAY)));
        let recorded = Some(Timestamp(0));
        assert!(matches!(guard.look(&clock, recorded), ClockState::Suspect(_)));
        clock.advance(PROBATION);
        assert_eq!(guard.look(&clock, recorded), ClockState::Trusted);
    }

    #[test]
    fn a_clock_behind_the_recorded_time_is_suspect_until_it_caught_up() {
        let (guard, clock) = watched(ManualClock::at(Timestamp(0)));
        let recorded = Some(Timestamp(2 * 3_600_000));
        assert!(matches!(guard.look(&clock, recorded), ClockState::Suspect(_)));
        clock.advance(HOUR + Duration::from_secs(1));
        assert_eq!(guard.look(&clock, recorded), ClockState::Trusted);
    }
}
