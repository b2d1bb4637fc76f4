//! Yields the processor while the writer thread does work that no request waits for.
//!
//! Garbage collection writes for tens of milliseconds at a time. Linux lets a running thread continue for milliseconds,
//! and pulls wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the changes that requests wait for.
#[derive(Debug, Clone, Default)]
pub struct WriterYield(Arc<AtomicUsize>);

impl WriterYield {
    /// Yields the processor if no request waits. The writer calls this about every 100 µs.
    pub fn yield_if_idle(&self) {
        if self.may_yield() {
            std::thread::yield_now();
        }
    }

    /// Records that a request waits for a change.
    pub fn add_waiter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that `count` requests no longer wait.
    pub fn remove_waiters(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    fn may_yield(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yields_only_while_no_request_waits() {
        let writer_yield = WriterYield::default();
        assert!(writer_yield.may_yield());
        writer_yield.add_waiter();
        writer_yield.add_waiter();
        writer_yield.remove_waiters(1);
        assert!(!writer_yield.may_yield());
        writer_yield.remove_waiters(1);
        assert!(writer_yield.may_yield());
    }
}
