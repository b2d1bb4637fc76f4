//! Monitors free disk space: warns when it gets low, and creates or releases the database's reserve file.
//!
//! On a completely full disk nothing could be deleted either, because a deletion is a database transaction. So a file
//! without content of use, `ballast`, lies next to the database. It is removed when the disk is nearly full and
//! created again when there is enough space.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};

use super::filesystem::free_space;
use super::open::Opened;
use crate::errors::Chain;
use crate::metadata::EventDetails;
use crate::registry::{BudgetState, DiskReserve};
use crate::store::durable;

/// How often the disk is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Size of the reserve file in bytes.
const RESERVE_SIZE: u64 = 16 << 20;

/// The file is removed below this many free bytes.
const DROP_RESERVE_BELOW: u64 = 16 << 20;

/// The file is created from this many free bytes on. The distance to [`DROP_RESERVE_BELOW`] avoids flapping.
const CREATE_RESERVE_FROM: u64 = 4 * RESERVE_SIZE;

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
            Ok(ReserveChange::Dropped) => {
                tracing::warn!("the disk is nearly full: released the database's reserve");
            }
            Ok(ReserveChange::Taken) => tracing::debug!("reserved disk space for the database"),
            Ok(ReserveChange::None) => {}
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
        tokio::time::sleep(CHECK_INTERVAL).await;
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

/// The reserve file of one metadata directory.
#[derive(Debug, Clone)]
struct ReserveFile {
    dir: PathBuf,
}

/// What happened to the reserve file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReserveChange {
    /// It stayed as it was.
    None,
    /// It was removed: the disk is nearly full.
    Dropped,
    /// It was created.
    Taken,
}

impl ReserveFile {
    /// Describes the reserve file in `dir`. Changes nothing yet.
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Creates or removes the file as the free space requires. Blocks.
    ///
    /// # Errors
    /// Fails if the filesystem fails.
    fn trim(&self) -> io::Result<ReserveChange> {
        self.trim_at(free_space(&self.dir)?)
    }

    /// Removes the file at once, because a deletion found no space. Returns whether it existed. Blocks.
    ///
    /// # Errors
    /// Fails if the filesystem fails.
    fn release(&self) -> io::Result<bool> {
        durable::remove(&self.dir.join("ballast"))
    }

    fn trim_at(&self, free: u64) -> io::Result<ReserveChange> {
        let path = self.dir.join("ballast");
        match fs::metadata(&path) {
            Ok(_) if free < DROP_RESERVE_BELOW => fs::remove_file(&path).map(|()| ReserveChange::Dropped),
            Ok(found) if found.len() == RESERVE_SIZE => Ok(ReserveChange::None),
            Ok(_) | Err(_) if free < CREATE_RESERVE_FROM => Ok(ReserveChange::None),
            Ok(_) => create(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path),
            Err(error) => Err(error),
        }
    }
}

impl DiskReserve for ReserveFile {
    fn release(&self) -> bool {
        match Self::release(self) {
            Ok(true) => {
                tracing::warn!("the disk is full: released the database's reserve for a delete");
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::warn!(%error, "failed to release the database's reserve");
                false
            }
        }
    }
}

fn create(path: &Path) -> io::Result<ReserveChange> {
    let created = File::create(path).and_then(|file| fill(&file));
    if created.is_err() {
        // A partial file would only occupy the space that it should reserve.
        let _ = fs::remove_file(path);
    }
    created.map(|()| ReserveChange::Taken)
}

fn fill(mut file: &File) -> io::Result<()> {
    if fallocate(file, FallocateFlags::empty(), 0, RESERVE_SIZE).is_ok() {
        return Ok(());
    }
    let zeros = vec![0; 1 << 20];
    for _ in 0..RESERVE_SIZE >> 20 {
        file.write_all(&zeros)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_when_space_is_short_and_created_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let reserve = ReserveFile::new(dir.path());
        let exists = || dir.path().join("ballast").exists();
        assert_eq!(reserve.trim_at(CREATE_RESERVE_FROM).expect("taken"), ReserveChange::Taken);
        assert_eq!(reserve.trim_at(DROP_RESERVE_BELOW).expect("kept"), ReserveChange::None);
        assert!(exists());
        assert_eq!(reserve.trim_at(DROP_RESERVE_BELOW - 1).expect("dropped"), ReserveChange::Dropped);
        assert_eq!(reserve.trim_at(CREATE_RESERVE_FROM - 1).expect("still short"), ReserveChange::None);
        assert!(!exists());
        assert_eq!(reserve.trim_at(u64::MAX).expect("taken"), ReserveChange::Taken);
        assert!(exists());
        assert!(reserve.release().expect("released"));
        assert!(!exists());
        assert!(!reserve.release().expect("there is none"));
    }
}
