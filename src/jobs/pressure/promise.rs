//! Bytes that will be freed without further removals: they are unreferenced, and only leases still keep them.

use std::time::Duration;

/// The bytes that will be freed when leases end, so that no more is removed than needed in the meantime.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Promise {
    bytes: u64,
    /// When the promise expires, by the monotonic clock. An upload may keep the bytes for much longer than a lease.
    until: Duration,
}

impl Promise {
    /// Returns how many bytes are still expected.
    pub(super) fn bytes(&self, elapsed: Duration) -> u64 {
        if elapsed < self.until { self.bytes } else { 0 }
    }

    /// Records that content of `expected` bytes was removed, and that `freed` bytes have become free by now.
    pub(super) fn record(&mut self, elapsed: Duration, expected: u64, freed: u64, lease: Duration) {
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
    fn promise_lasts_for_one_lease() {
        let mut promise = Promise::default();
        let second = Duration::from_secs(1);
        promise.record(Duration::ZERO, 100, 30, 10 * second);
        promise.record(5 * second, 0, 20, 10 * second);
        assert_eq!(promise.bytes(9 * second), 50);
        assert_eq!(promise.bytes(10 * second), 0);
        promise.record(11 * second, 7, 100, second);
        assert_eq!(promise.bytes(11 * second), 0);
    }
}
