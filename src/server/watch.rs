//! Monitors free disk space: warns when it gets low, and creates or releases the database's reserve file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::open::Opened;
use super::reserve_file::{Change, ReserveFile};
use crate::errors::Chain;
use crate::metadata::EventDetails;
use crate::registry::BudgetState;

/// How often the disk is checked.
const INTERVAL: Duration = Duration::from_secs(2);

/// How much space the disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Level {
    Ample = 0,
    Low = 1,
    Full = 2,
    Unknown = 3,
}

/// The result of the last disk check.
pub struct Watch {
    opened: Arc<Opened>,
    reserve: ReserveFile,
    free: AtomicU64,
    level: AtomicU8,
    budget: Mutex<Option<BudgetState>>,
}

impl Watch {
    /// Creates a monitor that has not checked the disk yet.
    pub fn new(opened: Arc<Opened>) -> Self {
        let reserve = ReserveFile::new(&opened.metadata_dir);
        opened.registry.set_disk_reserve(Arc::new(reserve.clone()));
        Self {
            opened,
            reserve,
            free: AtomicU64::new(0),
            level: AtomicU8::new(Level::Ample as u8),
            budget: Mutex::default(),
        }
    }

    /// Returns the free bytes as of the last check.
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Returns 0 with enough space, 1 with little, 2 when pushes are refused, 3 if the disk cannot be checked.
    pub fn severity(&self) -> u64 {
        self.level.load(Ordering::Relaxed).into()
    }

    /// Returns the disk budget's state as of the last check, if there is a budget.
    pub fn budget(&self) -> Option<BudgetState> {
        *self.budget.lock()
    }

    /// Returns a warning for clients that push, if there is one.
    pub fn warning(&self) -> Option<String> {
        let low = self.severity() == Level::Low as u64;
        low.then(|| format!("the registry's disk is getting full: {} MiB free", self.free() >> 20))
    }

    async fn check_disk(&self) {
        let settings = self.opened.registry.settings();
        let space = self.opened.registry.space().await;
        let free = space.as_ref().map_or(0, |space| space.free);
        let level = match &space {
            Err(_) => Level::Unknown,
            Ok(_) if settings.read_only => Level::Ample,
            Ok(_) if free < settings.min_free => Level::Full,
            Ok(_) if free < settings.warn_free => Level::Low,
            Ok(_) => Level::Ample,
        };
        self.free.store(free, Ordering::Relaxed);
        if self.level.swap(level as u8, Ordering::Relaxed) != level as u8 {
            match space {
                Ok(_) => log_level(level, free >> 20),
                Err(error) => tracing::error!(
                    data = %self.opened.data.display(), error = %Chain(&error),
                    "cannot determine the free space of the data directory"
                ),
            }
        }
        if let Some(state) = disk_event(level, free, settings.min_free) {
            self.opened.registry.record_state(state).await;
        }
        if let Ok(state) = self.opened.registry.budget().await {
            *self.budget.lock() = state;
        }
    }

    fn trim_reserve(&self) {
        if self.opened.registry.settings().read_only {
            return;
        }
        match self.reserve.trim() {
            Ok(Change::Dropped) => {
                tracing::warn!("the disk is nearly full: released the database's reserve");
            }
            Ok(Change::Taken) => tracing::debug!("reserved disk space for the database"),
            Ok(Change::None) => {}
            Err(error) => tracing::debug!(%error, "failed to reserve disk space for the database"),
        }
    }
}

/// Checks the disk periodically, forever.
pub(super) async fn watch(watch: Arc<Watch>) {
    loop {
        watch.check_disk().await;
        let shared = Arc::clone(&watch);
        // The panic hook logs a panic in there; the next check runs all the same.
        let _ = tokio::task::spawn_blocking(move || shared.trim_reserve()).await;
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Returns the event that records the level. A disk that cannot be checked cannot record events either.
fn disk_event(level: Level, free: u64, min_free: u64) -> Option<EventDetails> {
    match level {
        Level::Full => Some(EventDetails::DiskFull { free, min_free }),
        Level::Ample | Level::Low => Some(EventDetails::DiskAmple { free, min_free }),
        Level::Unknown => None,
    }
}

fn log_level(level: Level, free_mib: u64) {
    match level {
        Level::Ample => tracing::info!(free_mib, "the disk has enough free space again"),
        Level::Low => tracing::warn!(free_mib, "the disk is getting full"),
        Level::Full => tracing::error!(free_mib, "the disk is full: pushes are refused until space is freed"),
        Level::Unknown => {}
    }
}
