//! Watches how much room is left: warns early, and trims the ballast.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::open::Opened;
use super::reserve_file::{Change, ReserveFile};
use crate::metadata::EventDetails;
use crate::registry::BudgetState;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// How the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Level {
    Ample = 0,
    Low = 1,
    Full = 2,
    Unknown = 3,
}

/// The last look at the disk.
pub struct Watch {
    opened: Arc<Opened>,
    ballast: ReserveFile,
    free: AtomicU64,
    level: AtomicU8,
    budget: Mutex<Option<BudgetState>>,
}

impl Watch {
    /// Nothing was looked at yet.
    pub fn new(opened: Arc<Opened>) -> Self {
        let ballast = ReserveFile::new(&opened.metadata_dir);
        opened.registry.set_disk_reserve(Arc::new(ballast.clone()));
        let (free, level) = (AtomicU64::new(0), AtomicU8::new(Level::Ample as u8));
        Self { opened, ballast, free, level, budget: Mutex::default() }
    }

    /// How many bytes could be written at the last look.
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// 0 with room, 1 with little, 2 when pushes are refused, 3 when the disk cannot be looked at.
    pub fn severity(&self) -> u64 {
        self.level.load(Ordering::Relaxed).into()
    }

    /// How the budget stood at the last look, if there is one.
    pub fn budget(&self) -> Option<BudgetState> {
        *self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What those who push should know, if anything.
    pub fn warning(&self) -> Option<String> {
        let low = self.severity() == Level::Low as u64;
        low.then(|| format!("the registry's disk is getting full: {} MiB are free", self.free() >> 20))
    }

    async fn look(&self) {
        let settings = self.opened.registry.settings();
        let space = self.opened.registry.space().await;
        let free = space.as_ref().map_or(0, |space| space.free);
        let level = match space {
            Err(_) => Level::Unknown,
            Ok(_) if settings.read_only => Level::Ample,
            Ok(_) if free < settings.min_free => Level::Full,
            Ok(_) if free < settings.warn_free => Level::Low,
            Ok(_) => Level::Ample,
        };
        self.free.store(free, Ordering::Relaxed);
        if self.level.swap(level as u8, Ordering::Relaxed) != level as u8 {
            tell(level, free, &self.opened.data.display());
        }
        if let Some(state) = event(level, free, settings.min_free) {
            self.opened.registry.note_state(state).await;
        }
        if let Ok(state) = self.opened.registry.budget().await {
            *self.budget.lock().unwrap_or_else(PoisonError::into_inner) = state;
        }
    }

    fn trim(&self) {
        if self.opened.registry.settings().read_only {
            return;
        }
        match self.ballast.trim() {
            Ok(Change::Dropped) => {
                tracing::warn!("the disk is nearly full: the database's reserve was released")
            }
            Ok(Change::Taken) => tracing::debug!("room was set aside for the database"),
            Ok(Change::None) => {}
            Err(error) => tracing::debug!(%error, "no room could be set aside for the database"),
        }
    }
}

/// Watches for ever.
pub(super) async fn watch(watch: Arc<Watch>) {
    loop {
        watch.look().await;
        let shared = Arc::clone(&watch);
        // A panic there is logged by the hook, and the next look is due all the same.
        let _ = tokio::task::spawn_blocking(move || shared.trim()).await;
        tokio::time::sleep(INTERVAL).await;
    }
}

/// What the log of events has of it. Where the disk cannot be looked at, neither can that be written.
fn event(level: Level, free: u64, min_free: u64) -> Option<EventDetails> {
    match level {
        Level::Full => Some(EventDetails::DiskFull { free, min_free }),
        Level::Ample | Level::Low => Some(EventDetails::DiskAmple { free, min_free }),
        Level::Unknown => None,
    }
}

fn tell(level: Level, free: u64, data: &dyn std::fmt::Display) {
    let free_mib = free >> 20;
    match level {
        Level::Ample => tracing::info!(free_mib, "there is room on the disk again"),
        Level::Low => tracing::warn!(free_mib, "the disk is getting full"),
        Level::Full => tracing::error!(free_mib, "the disk is full: pushes are refused until there is room"),
        Level::Unknown => tracing::error!(%data, "the data directory cannot be looked at"),
    }
}
