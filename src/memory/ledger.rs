//! Counts the reserved memory, and decides whether more fits.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use strum::VariantArray;

use super::{Holder, Purpose};

/// Reservations of at most this many bytes are small: a part of the budget is kept for them.
pub const SMALL: usize = 64 * 1024;

/// The class of a reservation; each class has its own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) holder: Holder,
    pub(super) is_large: bool,
}

impl Class {
    /// All classes, in the order in which waiting reservations are served.
    pub(super) const ALL: [Self; 4] = [
        Self { holder: Holder::Authenticated, is_large: false },
        Self { holder: Holder::Authenticated, is_large: true },
        Self { holder: Holder::Anonymous, is_large: false },
        Self { holder: Holder::Anonymous, is_large: true },
    ];

    /// Returns its position in [`Self::ALL`].
    pub(super) fn index(self) -> usize {
        let first = match self.holder {
            Holder::Authenticated => 0,
            Holder::Anonymous => 2,
        };
        first + usize::from(self.is_large)
    }

    /// Returns the counters that include reservations of this class.
    fn counters(self) -> &'static [usize] {
        match (self.holder, self.is_large) {
            (Holder::Authenticated, false) => &[TOTAL],
            (Holder::Authenticated, true) => &[TOTAL, LARGE],
            (Holder::Anonymous, false) => &[TOTAL, ANONYMOUS],
            (Holder::Anonymous, true) => &[TOTAL, LARGE, ANONYMOUS, ANONYMOUS_LARGE],
        }
    }
}

const TOTAL: usize = 0;
const LARGE: usize = 1;
const ANONYMOUS: usize = 2;
const ANONYMOUS_LARGE: usize = 3;

#[derive(Debug)]
struct Counter {
    used: AtomicUsize,
    limit: usize,
}

impl Counter {
    fn used(&self) -> usize {
        self.used.load(SeqCst)
    }

    fn try_add(&self, bytes: usize) -> bool {
        let add = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(SeqCst, SeqCst, add).is_ok()
    }
}

/// The counters of reserved memory. There is no lock: a reservation that fits costs one atomic operation for each limit
/// that applies to it.
#[derive(Debug)]
pub(super) struct Ledger {
    counters: [Counter; 4],
    by_purpose: [AtomicUsize; Purpose::VARIANTS.len()],
}

impl Ledger {
    pub(super) fn new(total: usize) -> Self {
        let anonymous = total / 4;
        let limits = [total, total - total / 8, anonymous, anonymous - anonymous / 4];
        Self {
            counters: limits.map(|limit| Counter { used: AtomicUsize::default(), limit }),
            by_purpose: Default::default(),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.counters[TOTAL].limit
    }

    pub(super) fn total(&self) -> usize {
        self.counters[TOTAL].used()
    }

    pub(super) fn anonymous(&self) -> usize {
        self.counters[ANONYMOUS].used()
    }

    pub(super) fn of_purpose(&self, purpose: Purpose) -> usize {
        self.by_purpose[purpose as usize].load(SeqCst)
    }

    /// Returns the maximum size of one reservation. Half of the budget still fits beside what connections hold for
    /// long.
    pub(super) fn max_of(&self, class: Class) -> usize {
        let max = if class.is_large { self.limit() / 2 } else { self.limit() };
        class.counters().iter().map(|counter| self.counters[*counter].limit).fold(max, usize::min)
    }

    /// Counts `bytes` if they fit. Returns whether they do.
    pub(super) fn try_add(&self, class: Class, purpose: Purpose, bytes: usize) -> bool {
        let counters = class.counters();
        for (at, counter) in counters.iter().enumerate() {
            if !self.counters[*counter].try_add(bytes) {
                for added in &counters[..at] {
                    self.counters[*added].used.fetch_sub(bytes, SeqCst);
                }
                return false;
            }
        }
        self.by_purpose[purpose as usize].fetch_add(bytes, SeqCst);
        true
    }

    /// Counts `bytes` even if they do not fit.
    pub(super) fn add(&self, class: Class, purpose: Purpose, bytes: usize) {
        for counter in class.counters() {
            self.counters[*counter].used.fetch_add(bytes, SeqCst);
        }
        self.by_purpose[purpose as usize].fetch_add(bytes, SeqCst);
    }

    pub(super) fn remove(&self, class: Class, purpose: Purpose, bytes: usize) {
        self.by_purpose[purpose as usize].fetch_sub(bytes, SeqCst);
        for counter in class.counters() {
            self.counters[*counter].used.fetch_sub(bytes, SeqCst);
        }
    }

    /// Moves `bytes` from the share of anonymous clients to the share of all clients.
    pub(super) fn promote(&self, is_large: bool, bytes: usize) {
        self.counters[ANONYMOUS].used.fetch_sub(bytes, SeqCst);
        if is_large {
            self.counters[ANONYMOUS_LARGE].used.fetch_sub(bytes, SeqCst);
        }
    }

    /// Returns whether small reservations, with `bytes` more, stay within the part that is kept for them.
    pub(super) fn fits_small_part(&self, holder: Holder, bytes: usize) -> bool {
        let fits = |all: usize, large: usize| {
            let [all, large] = [all, large].map(|counter| &self.counters[counter]);
            all.used().saturating_sub(large.used()) + bytes <= all.limit - large.limit
        };
        fits(TOTAL, LARGE) && (holder == Holder::Authenticated || fits(ANONYMOUS, ANONYMOUS_LARGE))
    }

    /// Returns whether small reservations, with which requests start, use so much of the space left by large ones that
    /// no more requests should be read. The last quarter is kept for the needs of requests that have started.
    pub(super) fn is_short(&self, holder: Holder) -> bool {
        self.has_small_above(holder, |room| room - room / 4)
    }

    /// The same for a client that holds nothing: clients that hold memory must not keep it out.
    pub(super) fn is_nearly_full(&self, holder: Holder) -> bool {
        self.has_small_above(holder, |room| room - room / 8)
    }

    /// Returns whether small reservations use more than half of the space left by large ones. Shares should be fair
    /// then.
    pub(super) fn is_crowded(&self, holder: Holder) -> bool {
        self.has_small_above(holder, |room| room / 2)
    }

    /// Returns the space that large reservations leave to small ones.
    pub(super) fn room_for_small_reservations(&self, holder: Holder) -> usize {
        let left =
            |all: usize, large: usize| self.counters[all].limit.saturating_sub(self.counters[large].used());
        match holder {
            Holder::Authenticated => left(TOTAL, LARGE),
            Holder::Anonymous => left(TOTAL, LARGE).min(left(ANONYMOUS, ANONYMOUS_LARGE)),
        }
    }

    /// Returns whether more than half of the limit for such clients is reserved, by small and large reservations
    /// together.
    pub(super) fn is_half_used(&self, holder: Holder) -> bool {
        let above = |counter: usize| self.counters[counter].used() >= self.counters[counter].limit / 2;
        above(TOTAL) || (holder == Holder::Anonymous && above(ANONYMOUS))
    }

    fn has_small_above(&self, holder: Holder, threshold: impl Fn(usize) -> usize) -> bool {
        let above = |all: usize, large: usize| {
            let all = &self.counters[all];
            let large = self.counters[large].used();
            all.used().saturating_sub(large) >= threshold(all.limit.saturating_sub(large))
        };
        above(TOTAL, LARGE) || (holder == Holder::Anonymous && above(ANONYMOUS, ANONYMOUS_LARGE))
    }
}
