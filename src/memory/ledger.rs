//! The numbers: what is reserved, and whether more fits.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::{Holder, Purpose};

/// Reservations of at most this many bytes are small: they have a part that larger ones cannot take.
pub const SMALL: usize = 64 * 1024;

/// What the rules tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) holder: Holder,
    pub(super) is_large: bool,
}

impl Class {
    /// In the order in which waiting reservations are served.
    pub(super) const ALL: [Self; 4] = [
        Self { holder: Holder::Authenticated, is_large: false },
        Self { holder: Holder::Authenticated, is_large: true },
        Self { holder: Holder::Anonymous, is_large: false },
        Self { holder: Holder::Anonymous, is_large: true },
    ];

    /// Its place in [`Self::ALL`].
    pub(super) fn index(self) -> usize {
        let first = match self.holder {
            Holder::Authenticated => 0,
            Holder::Anonymous => 2,
        };
        first + usize::from(self.is_large)
    }

    /// The counters that a reservation of this class counts in.
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

/// What is reserved. No lock: a reservation that fits costs one atomic operation for each limit that binds it.
#[derive(Debug)]
pub(super) struct Ledger {
    counters: [Counter; 4],
    by_purpose: [AtomicUsize; Purpose::ALL.len()],
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

    /// The most that one reservation can be: with half of the budget it fits beside what connections hold for long.
    pub(super) fn max_of(&self, class: Class) -> usize {
        let most = if class.is_large { self.limit() / 2 } else { self.limit() };
        class.counters().iter().map(|counter| self.counters[*counter].limit).fold(most, usize::min)
    }

    /// Counts `bytes` if they fit.
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

    /// Counts `bytes` whether they fit or not.
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

    /// Moves `bytes` from the share of anonymous clients to everyone's.
    pub(super) fn promote(&self, is_large: bool, bytes: usize) {
        self.counters[ANONYMOUS].used.fetch_sub(bytes, SeqCst);
        if is_large {
            self.counters[ANONYMOUS_LARGE].used.fetch_sub(bytes, SeqCst);
        }
    }

    /// Whether small reservations, with `bytes` more, keep to the part that large ones cannot take.
    pub(super) fn fits_small_part(&self, holder: Holder, bytes: usize) -> bool {
        let fits = |all: usize, large: usize| {
            let [all, large] = [all, large].map(|counter| &self.counters[counter]);
            all.used().saturating_sub(large.used()) + bytes <= all.limit - large.limit
        };
        fits(TOTAL, LARGE) && (holder == Holder::Authenticated || fits(ANONYMOUS, ANONYMOUS_LARGE))
    }

    /// Whether small reservations, which requests begin with, take so much of what large ones leave that no more requests
    /// should be read. The last quarter is for what those that have begun still need.
    pub(super) fn is_short(&self, holder: Holder) -> bool {
        self.has_small_above(holder, |room| room - room / 4)
    }

    /// The same for a client that holds nothing: those that hold something must not keep it out.
    pub(super) fn is_nearly_full(&self, holder: Holder) -> bool {
        self.has_small_above(holder, |room| room - room / 8)
    }

    /// Whether small reservations take more than half of what large ones leave: from here on shares should be fair.
    pub(super) fn is_crowded(&self, holder: Holder) -> bool {
        self.has_small_above(holder, |room| room / 2)
    }

    /// What large reservations leave to small ones.
    pub(super) fn room_for_small(&self, holder: Holder) -> usize {
        let left =
            |all: usize, large: usize| self.counters[all].limit.saturating_sub(self.counters[large].used());
        match holder {
            Holder::Authenticated => left(TOTAL, LARGE),
            Holder::Anonymous => left(TOTAL, LARGE).min(left(ANONYMOUS, ANONYMOUS_LARGE)),
        }
    }

    /// Whether more than half of what such clients may hold is reserved, small and large.
    pub(super) fn is_half_used(&self, holder: Holder) -> bool {
        let above = |counter: usize| self.counters[counter].used() >= self.counters[counter].limit / 2;
        above(TOTAL) || (holder == Holder::Anonymous && above(ANONYMOUS))
    }

    fn has_small_above(&self, holder: Holder, mark: impl Fn(usize) -> usize) -> bool {
        let above = |all: usize, large: usize| {
            let all = &self.counters[all];
            let large = self.counters[large].used();
            all.used().saturating_sub(large) >= mark(all.limit.saturating_sub(large))
        };
        above(TOTAL, LARGE) || (holder == Holder::Anonymous && above(ANONYMOUS, ANONYMOUS_LARGE))
    }
}
