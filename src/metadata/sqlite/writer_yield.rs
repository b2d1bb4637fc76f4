//! Letting others have the processor while the writer does what nobody waits for.
//!
//! Collection writes for tens of milliseconds at a time. Linux lets a thread that has begun go on for
//! milliseconds, and whoever pulls waits for it. The writer can't step back as the other background threads do
//! (see `server::runtime`), since pushes wait for it too, and an unprivileged thread never comes forward again: so
//! it yields between SQLite's operations, as long as nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection;

/// How many of SQLite's operations run between two looks: about 100 µs.
const OPERATIONS: i32 = 1000;

/// How many changes somebody waits for.
#[derive(Clone, Default)]
pub(super) struct WriterYield(Arc<AtomicUsize>);

impl WriterYield {
    /// Lets the thread that writes through `connection` yield while it has time.
    pub(super) fn of(connection: &mut Connection) -> rusqlite::Result<Self> {
        let patience = Self::default();
        let own = patience.clone();
        let look = move || {
            if own.has_time() {
                std::thread::yield_now();
            }
            false
        };
        connection.progress_handler(OPERATIONS, Some(look))?;
        Ok(patience)
    }

    /// Somebody begins to wait for a change.
    pub(super) fn hurry(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So many have what they waited for.
    pub(super) fn relax(&self, changes: usize) {
        self.0.fetch_sub(changes, Ordering::Relaxed);
    }

    fn has_time(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_time_while_nobody_waits() {
        let patience = WriterYield::default();
        assert!(patience.has_time());
        patience.hurry();
        patience.hurry();
        patience.relax(1);
        assert!(!patience.has_time());
        patience.relax(1);
        assert!(patience.has_time());
    }
}
