//! Bytes that will come free by themselves: what holds them is gone, and only leases keep them yet.

use std::time::Duration;

/// So that nothing more goes than is needed, while what has gone is still leased.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Promise {
    bytes: u64,
    /// Until when, by the monotonic clock, it is believed in: an upload may keep them for long.
    until: Duration,
}

impl Promise {
    /// How many bytes will come.
    pub(super) fn bytes(&self, elapsed: Duration) -> u64 {
        if elapsed < self.until { self.bytes } else { 0 }
    }

    /// Something was let go that has `expected` bytes, and by now `freed` bytes have come free.
    pub(super) fn note(&mut self, elapsed: Duration, expected: u64, freed: u64, lease: Duration) {
        self.bytes = self.bytes(elapsed).saturating_add(expected).saturating_sub(freed);
        if expected > 0 {
            self.until = elapsed.saturating_add(lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_believed_in_for_a_lease() {
        let (mut promise, second) = (Promise::default(), Duration::from_secs(1));
        promise.note(Duration::ZERO, 100, 30, 10 * second);
        promise.note(5 * second, 0, 20, 10 * second);
        assert_eq!(promise.bytes(9 * second), 50);
        assert_eq!(promise.bytes(10 * second), 0);
        promise.note(11 * second, 7, 100, second);
        assert_eq!(promise.bytes(11 * second), 0);
    }
}
