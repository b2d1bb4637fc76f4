//! Remembers whether there may be unverified blobs, so that requests need no query where nothing was adopted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Whether there may be unverified blobs. Only this process adds some while it has the database open for writing.
pub(in crate::metadata) struct UnverifiedHint {
    /// Grows with each adoption.
    adoptions: AtomicU64,
    /// The number of adoptions after which a query found none. 0: no query has found none.
    none_after: AtomicU64,
}

impl Default for UnverifiedHint {
    fn default() -> Self {
        Self { adoptions: AtomicU64::new(1), none_after: AtomicU64::new(0) }
    }
}

impl UnverifiedHint {
    /// Whether there may be some.
    pub(in crate::metadata) fn may_exist(&self) -> bool {
        self.adoptions() != self.none_after.load(Ordering::Acquire)
    }

    /// Records that an adoption adds some. Call it before and after the change: a query in between may find none.
    pub(in crate::metadata) fn record_adoption(&self) {
        self.adoptions.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the number of adoptions, for [`UnverifiedHint::record_none`].
    pub(in crate::metadata) fn adoptions(&self) -> u64 {
        self.adoptions.load(Ordering::Acquire)
    }

    /// Records that a query found none. `adoptions` is their number before the query.
    pub(in crate::metadata) fn record_none(&self, adoptions: u64) {
        self.none_after.fetch_max(adoptions, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adoption_during_a_query_is_not_forgotten() {
        let hint = UnverifiedHint::default();
        assert!(hint.may_exist());
        let before = hint.adoptions();
        hint.record_adoption();
        hint.record_none(before);
        assert!(hint.may_exist());
        hint.record_none(hint.adoptions());
        assert!(!hint.may_exist());
        hint.record_adoption();
        assert!(hint.may_exist());
    }
}
