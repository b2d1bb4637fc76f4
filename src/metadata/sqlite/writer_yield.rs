//! Yields the processor while the writer thread does work that no request waits for.
//!
//! Garbage collection writes for tens of milliseconds at a time. Linux lets a running thread continue for milliseconds,
//! and pulls wait for it. The writer can't lower its priority as the other background threads do (see
//! `server::runtime`): pushes wait for it too, and an unprivileged thread can't raise its priority again. So it yields
//! between SQLite's operations as long as no request waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection;

/// Number of SQLite operations between two checks: about 100 µs.
const OPERATIONS_PER_CHECK: i32 = 1000;

/// Counts the changes that requests wait for.
#[derive(Clone, Default)]
pub(super) struct WriterYield(Arc<AtomicUsize>);

impl WriterYield {
    /// Makes the thread that writes through `connection` yield while no request waits.
    pub(super) fn install(connection: &mut Connection) -> rusqlite::Result<Self> {
        let writer_yield = Self::default();
        let in_handler = writer_yield.clone();
        let check = move || {
            if in_handler.may_yield() {
                std::thread::yield_now();
            }
            false
        };
        connection.progress_handler(OPERATIONS_PER_CHECK, Some(check))?;
        Ok(writer_yield)
    }

    /// Records that a request waits for a change.
    pub(super) fn add_waiter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that `count` requests no longer wait.
    pub(super) fn remove_waiters(&self, count: usize) {
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
