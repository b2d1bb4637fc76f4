//! Restoring a backup to an empty data directory.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::errors::StartError;
use super::lock::{DataLock, StoreLock};
use super::open::{Opened, RESTORING, refuse_network};
use super::overlap::refuse_overlap;
use super::state_file::StateFile;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::jobs::backup::{self, BackupError, BackupReport};
use crate::jobs::fsck::{FsckReport, fsck};
use crate::jobs::progress::Progress;
use crate::registry::{Registry, ServiceError};

/// How many uploads are ended at once.
const BATCH: usize = 1000;

/// What came of a restore.
#[derive(Debug)]
pub struct Restored {
    /// What was copied.
    pub copied: BackupReport,
    /// What a look at every byte of the copy found.
    pub verified: FsckReport,
}

/// Restores the backup in `dir` to the data directory that `config` names, and reads it all back.
///
/// # Errors
/// [`StartError`]: the data directory is not empty, or a store failed.
pub async fn restore(config: &Config, dir: &Path, progress: &dyn Progress) -> Result<Restored, StartError> {
    let (data, metadata_dir) = (&config.storage.data, config.metadata_dir());
    if config.storage.read_only {
        let message = "nothing can be restored while it is true".into();
        return Err(StartError::Setting { key: "storage.read_only", message });
    }
    refuse_network(&metadata_dir)?;
    refuse_backup_itself(dir, data, &metadata_dir)?;
    within(data, fs::create_dir_all(data))?;
    // Once more, now that every link on the way can be followed.
    refuse_backup_itself(dir, data, &metadata_dir)?;
    let mut lock = StoreLock::take(data)?;
    let _backup_lock = DataLock::take(dir)?;
    if !data.join(RESTORING).exists() {
        refuse_full(data)?;
        refuse_full(&metadata_dir)?;
    }
    within(data, mark(data))?;
    within(&metadata_dir, fs::create_dir_all(&metadata_dir))?;
    lock.lock_metadata(data, &metadata_dir)?;
    // What a restore that was cut off recorded is about the database that is replaced now.
    within(data, StateFile::of(data).remove())?;
    let copied = backup::restore(dir, data, &metadata_dir, progress).await.map_err(StartError::Restore)?;
    let opened = Opened::restored(config, lock).await?;
    end_uploads(&opened.registry).await?;
    let verified = fsck(&opened.registry, true, progress).await?;
    within(data, unmark(data))?;
    Ok(Restored { copied, verified })
}

/// The bytes of uploads that were in progress are not in a backup.
async fn end_uploads(registry: &Registry) -> Result<(), ServiceError> {
    registry.recover().await?;
    let metadata = registry.metadata();
    let end = registry.end_of_upload();
    loop {
        let open = metadata.idle_uploads(Timestamp(i64::MAX), BATCH).await?;
        if open.is_empty() {
            return Ok(());
        }
        for id in open {
            metadata.cancel_upload(id, None, end).await?;
        }
    }
}

/// The copy of a backup within itself would be lost together with it, and removed by the next backup.
fn refuse_backup_itself(dir: &Path, data: &Path, metadata_dir: &Path) -> Result<(), StartError> {
    let refused = refuse_overlap(dir, &[data, metadata_dir]);
    refused.map_err(|message| StartError::Restore(BackupError::Refused(message)))
}

fn refuse_full(dir: &Path) -> Result<(), StartError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => within(dir, entries)?,
    };
    // What every new volume has, and what locking it has just made.
    let harmless = ["lock", "lost+found"];
    let full = entries.flatten().any(|entry| !harmless.iter().any(|name| entry.file_name() == *name));
    if full {
        return Err(StartError::NotEmpty(dir.into()));
    }
    Ok(())
}

fn mark(data: &Path) -> io::Result<()> {
    File::create(data.join(RESTORING))?.sync_all()?;
    File::open(data)?.sync_all()
}

fn unmark(data: &Path) -> io::Result<()> {
    fs::remove_file(data.join(RESTORING))?;
    File::open(data)?.sync_all()
}

fn within<T>(path: &Path, outcome: io::Result<T>) -> Result<T, StartError> {
    outcome.map_err(|error| StartError::Restore(BackupError::Io { path: path.into(), error }))
}
