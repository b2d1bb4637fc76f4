//! Time source. Nothing else in the crate reads the operating system's clock, so that tests can control time.

#[cfg(any(test, feature = "testing"))]
#[path = "../tests/doubles/manual_clock.rs"]
mod manual_clock;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(any(test, feature = "testing"))]
pub use manual_clock::ManualClock;

/// A point in wall-clock time, in milliseconds since the Unix epoch.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The last timestamp with a four-digit year.
    const LAST: Self = Self(253_402_300_799_000);

    /// Formats the time as RFC 3339, to the second. Times after the year 9999 show its last second.
    pub fn rfc3339(self) -> String {
        let since = Duration::from_millis(u64::try_from(self.min(Self::LAST).0).unwrap_or(0));
        humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
    }

    /// Returns this time plus `span`.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// Returns this time minus `span`.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// Returns the time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Converts `span` to whole milliseconds, at most `i64::MAX`.
pub fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Returns the wall-clock time, which may jump.
    fn now(&self) -> Timestamp;

    /// Returns the time since an arbitrary start. It never goes backwards and includes time spent suspended.
    fn elapsed(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(millis(since_epoch))
    }

    fn elapsed(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}
