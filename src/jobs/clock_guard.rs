//! Watches the clock: nothing expires while it cannot be trusted.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};

/// By how much wall clock and monotonic clock, or wall clock and recorded time, may disagree.
const TOLERANCE: Duration = Duration::from_secs(60 * 60);

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
#[derive(Default)]
pub struct ClockGuard {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// A wall-clock time and the monotonic time at which it was seen.
    base: Option<(Timestamp, Duration)>,
    /// When, by the monotonic clock, the last jump was seen, and what it was.
    jump: Option<(Duration, String)>,
}

impl ClockGuard {
    /// Looks at the clock. `recorded` is the latest time in the metadata.
    pub fn look(&self, clock: &dyn Clock, recorded: Option<Timestamp>) -> ClockState {
        let (now, elapsed) = (clock.now(), clock.elapsed());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(recorded) = recorded
            && recorded.since(now) > TOLERANCE
        {
            let behind = humantime::format_duration(whole_seconds(recorded.since(now)));
            return ClockState::Suspect(format!("the clock is {behind} behind the last recorded time"));
        }
        if let Some((wall, monotonic)) = seen.base {
            let expected = wall.plus(elapsed.saturating_sub(monotonic));
            let off = now.since(expected).max(expected.since(now));
            if off > TOLERANCE {
                let off = humantime::format_duration(whole_seconds(off));
                seen.jump = Some((elapsed, format!("the clock jumped by {off}")));
            }
        }
        seen.base = Some((now, elapsed));
        match &seen.jump {
            Some((at, what)) if elapsed.saturating_sub(*at) < PROBATION => {
                let reason = format!("{what}; it is trusted again after a day or a restart");
                ClockState::Suspect(reason)
            }
            _ => ClockState::Trusted,
        }
    }
}

fn whole_seconds(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn an_even_clock_is_trusted() {
        let (guard, clock) = (ClockGuard::default(), ManualClock::at(Timestamp(0)));
        for _ in 0..100 {
            clock.advance(2 * HOUR);
            assert_eq!(guard.look(&clock, Some(clock.now().minus(HOUR))), ClockState::Trusted);
        }
    }

    #[test]
    fn a_jump_suspends_trust_for_a_day() {
        for target in [0, 10 * 3_600_000] {
            let (guard, clock) = (ClockGuard::default(), ManualClock::at(Timestamp(5 * 3_600_000)));
            guard.look(&clock, None);
            clock.jump_to(Timestamp(target));
            assert!(matches!(guard.look(&clock, None), ClockState::Suspect(_)));
            clock.advance(23 * HOUR);
            assert!(matches!(guard.look(&clock, None), ClockState::Suspect(_)));
            clock.advance(2 * HOUR);
            assert_eq!(guard.look(&clock, None), ClockState::Trusted);
        }
    }

    #[test]
    fn a_clock_behind_the_recorded_time_is_suspect_until_it_caught_up() {
        let (guard, clock) = (ClockGuard::default(), ManualClock::at(Timestamp(0)));
        let recorded = Some(Timestamp(2 * 3_600_000));
        assert!(matches!(guard.look(&clock, recorded), ClockState::Suspect(_)));
        clock.advance(HOUR + Duration::from_secs(1));
        assert_eq!(guard.look(&clock, recorded), ClockState::Trusted);
    }
}
