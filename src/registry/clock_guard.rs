//! Watches the clock: nothing expires while it cannot be trusted.
//!
//! A small machine often has no battery-backed clock. It starts at the time of its last shutdown, or in 1970, and jumps
//! once it learns the time from the network. Content pushed before that jump would look as old as the clock was wrong,
//! and would expire as soon as anything expires again. So timestamps taken since the clock began to run evenly move
//! with the jump, if that was less than a day ago. They never move back: content that seems too young is only kept for
//! longer.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::clock::{Clock, Timestamp};
use crate::metadata::ClockJump;

/// The maximum difference between wall clock and monotonic clock, and the maximum time by which the wall clock may be
/// behind the recorded time.
const TOLERANCE: Duration = Duration::from_secs(60 * 60);

/// How long a server may have been stopped before its clock is doubted.
const MAX_DOWNTIME: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How long the clock must run evenly before it is trusted again.
const PROBATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether the clock can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClockState {
    /// Times may be compared.
    Trusted,
    /// Times must not be compared, for this reason. Everything that expires pauses.
    Suspect(String),
}

/// Compares the wall clock with the monotonic clock and with the last recorded time.
pub(super) struct ClockGuard {
    seen: Mutex<Seen>,
}

struct Seen {
    /// When the clock began to run evenly.
    began: Moment,
    /// The time of the last check.
    last: Moment,
    /// Whether the clock has been compared with the time recorded before the start.
    compared: bool,
    /// When the clock was last found to be wrong, by the monotonic clock, and in which way.
    doubt: Option<(Duration, String)>,
    /// Jumps that have not been applied to the timestamps in the metadata yet.
    jumps: Vec<ClockJump>,
}

/// A moment by both clocks.
#[derive(Clone, Copy)]
struct Moment {
    wall: Timestamp,
    elapsed: Duration,
}

impl ClockGuard {
    /// Creates a guard that watches `clock` from now on.
    pub(super) fn new(clock: &dyn Clock) -> Self {
        let now = Moment::of(clock);
        let seen = Seen { began: now, last: now, compared: false, doubt: None, jumps: Vec::new() };
        Self { seen: Mutex::new(seen) }
    }

    /// Checks the clock. `recorded` is the latest time in the metadata.
    pub(super) fn check(&self, clock: &dyn Clock, recorded: Option<Timestamp>) -> ClockState {
        self.lock().check(Moment::of(clock), recorded)
    }

    /// Takes the jumps that have to be applied to the metadata; the caller has to apply them.
    pub(super) fn take_jumps(&self) -> Vec<ClockJump> {
        std::mem::take(&mut self.lock().jumps)
    }

    /// Puts back jumps that could not be applied.
    pub(super) fn put_back(&self, jumps: impl IntoIterator<Item = ClockJump>) {
        let mut seen = self.lock();
        let later = std::mem::take(&mut seen.jumps);
        seen.jumps = jumps.into_iter().chain(later).collect();
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }
}

impl Moment {
    fn of(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), elapsed: clock.elapsed() }
    }
}

impl Seen {
    fn check(&mut self, now: Moment, recorded: Option<Timestamp>) -> ClockState {
        let expected = self.last.wall.plus(now.elapsed.saturating_sub(self.last.elapsed));
        if now.wall.since(expected).max(expected.since(now.wall)) > TOLERANCE {
            self.record_jump(expected, now);
        }
        self.last = now;
        let downtime = recorded.map_or(Duration::ZERO, |recorded| now.wall.since(recorded));
        if !self.compared && downtime > MAX_DOWNTIME {
            let downtime = format_span(downtime);
            self.doubt = Some((now.elapsed, format!("the last recorded time is {downtime} ago")));
        }
        self.compared = true;
        self.state(now, recorded)
    }

    fn record_jump(&mut self, expected: Timestamp, now: Moment) {
        let forward = now.wall.since(expected);
        let back = expected.since(now.wall);
        self.doubt = Some((now.elapsed, format!("the clock jumped by {}", format_span(forward.max(back)))));
        if forward > back && now.elapsed.saturating_sub(self.began.elapsed) < PROBATION {
            self.jumps.push(ClockJump { from: self.began.wall, until: expected, by: forward });
        }
        self.began = now;
    }

    fn state(&self, now: Moment, recorded: Option<Timestamp>) -> ClockState {
        if let Some(recorded) = recorded
            && recorded.since(now.wall) > TOLERANCE
        {
            let behind = format_span(recorded.since(now.wall));
            return ClockState::Suspect(format!("the clock is {behind} behind the last recorded time"));
        }
        match &self.doubt {
            Some((at, what)) if now.elapsed.saturating_sub(*at) < PROBATION => ClockState::Suspect(format!(
                "{what}; the clock is trusted again once it has run evenly for a day"
            )),
            _ if self.jumps.is_empty() => ClockState::Trusted,
            _ => ClockState::Suspect(
                "timestamps from before the clock jump have not been corrected yet".into(),
            ),
        }
    }
}

pub(super) fn format_span(span: Duration) -> String {
    humantime::format_duration(Duration::from_secs(span.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn guard_for(clock: ManualClock) -> (ClockGuard, ManualClock) {
        (ClockGuard::new(&clock), clock)
    }

    #[test]
    fn an_even_clock_is_trusted() {
        let (guard, clock) = guard_for(ManualClock::at(Timestamp(0)));
        for _ in 0..100 {
            clock.advance(2 * HOUR);
            assert_eq!(guard.check(&clock, Some(clock.now().minus(HOUR))), ClockState::Trusted);
        }
    }

    #[test]
    fn a_jump_suspends_trust_for_a_day() {
        for target in [0, 10 * 3_600_000] {
            let (guard, clock) = guard_for(ManualClock::at(Timestamp(5 * 3_600_000)));
            guard.check(&clock, None);
            clock.jump_to(Timestamp(target));
            assert!(matches!(guard.check(&clock, None), ClockState::Suspect(_)));
            clock.advance(23 * HOUR);
            assert!(matches!(guard.check(&clock, None), ClockState::Suspect(_)));
            clock.advance(2 * HOUR);
            guard.take_jumps();
            assert_eq!(guard.check(&clock, None), ClockState::Trusted);
        }
    }

    #[test]
    fn timestamps_taken_on_probation_move_with_the_clock() {
        let (guard, clock) = guard_for(ManualClock::at(Timestamp(0)));
        guard.check(&clock, None);
        clock.advance(HOUR);
        clock.jump_to(Timestamp(100 * 3_600_000));
        guard.check(&clock, None);
        let jump = ClockJump { from: Timestamp(0), until: Timestamp(3_600_000), by: 99 * HOUR };
        assert_eq!(guard.take_jumps(), [jump]);
        assert_eq!(guard.take_jumps(), []);
    }

    #[test]
    fn timestamps_move_neither_back_nor_after_a_day_of_even_running() {
        let (guard, clock) = guard_for(ManualClock::at(Timestamp(100 * 3_600_000)));
        guard.check(&clock, None);
        clock.jump_to(Timestamp(0));
        guard.check(&clock, None);
        clock.advance(25 * HOUR);
        guard.check(&clock, None);
        clock.jump_to(Timestamp(100 * 3_600_000));
        assert!(matches!(guard.check(&clock, None), ClockState::Suspect(_)));
        assert_eq!(guard.take_jumps(), []);
    }

    #[test]
    fn a_long_downtime_makes_the_clock_suspect() {
        let (guard, clock) = guard_for(ManualClock::at(Timestamp(0).plus(2 * MAX_DOWNTIME)));
        let recorded = Some(Timestamp(0));
        assert!(matches!(guard.check(&clock, recorded), ClockState::Suspect(_)));
        clock.advance(PROBATION);
        assert_eq!(guard.check(&clock, recorded), ClockState::Trusted);
    }

    #[test]
    fn a_clock_behind_the_recorded_time_is_suspect_until_it_catches_up() {
        let (guard, clock) = guard_for(ManualClock::at(Timestamp(0)));
        let recorded = Some(Timestamp(2 * 3_600_000));
        assert!(matches!(guard.check(&clock, recorded), ClockState::Suspect(_)));
        clock.advance(HOUR + Duration::from_secs(1));
        assert_eq!(guard.check(&clock, recorded), ClockState::Trusted);
    }
}
