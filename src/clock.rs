//! Time source. Nothing else in the crate reads the operating system's clock, so that tests can control time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in wall-clock time, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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

/// A clock for tests that only moves when it is advanced.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall: AtomicI64,
    elapsed: AtomicI64,
}

impl ManualClock {
    /// Creates a clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { wall: AtomicI64::new(now.0), elapsed: AtomicI64::new(0) }
    }

    /// Advances both clocks by `span`.
    pub fn advance(&self, span: Duration) {
        self.wall.fetch_add(millis(span), Ordering::SeqCst);
        self.elapsed.fetch_add(millis(span), Ordering::SeqCst);
    }

    /// Sets the wall clock only, as an administrator or NTP would.
    pub fn jump_to(&self, now: Timestamp) {
        self.wall.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.elapsed.load(Ordering::SeqCst)).unwrap_or(0))
    }
}
