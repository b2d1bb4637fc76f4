//! Restores a backup to an empty data directory.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::errors::StartError;
use super::filesystem::refuse_overlap;
use super::lock::{DataLock, StoreLock};
use super::open::{OpenMode, Opened, RESTORING, refuse_network};
use super::state_file::StateFile;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::maintenance::backup::{self, BackupError, BackupReport};
use crate::maintenance::fsck::{FsckReport, fsck};
use crate::maintenance::progress::Progress;
use crate::registry::{Registry, ServiceError};

/// How many uploads are cancelled at once.
const UPLOAD_BATCH: usize = 1000;

/// The result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// What was copied.
    pub copied: BackupReport,
    /// The result of a full check of the copy.
    pub verified: FsckReport,
}

/// Restores the backup in `dir` to the data directory that `config` names, and verifies every byte of the copy.
///
/// # Errors
/// Fails if the data directory is not empty or a store fails.
pub async fn restore(config: &Config, dir: &Path, progress: &dyn Progress) -> Result<Restored, StartError> {
    let data = &config.storage.data;
    let metadata_dir = config.metadata_dir();
    if config.storage.read_only {
        return Err(StartError::setting("storage.read_only", "must be false to restore a backup"));
    }
    refuse_network(&metadata_dir)?;
    refuse_backup_itself(dir, data, &metadata_dir)?;
    within(data, fs::create_dir_all(data))?;
    // Check again, now that all links on the path can be resolved.
    refuse_backup_itself(dir, data, &metadata_dir)?;
    let mut lock = StoreLock::take(data)?;
    let _backup_lock = DataLock::take(dir)?;
    if !data.join(RESTORING).exists() {
        refuse_non_empty(data)?;
        refuse_non_empty(&metadata_dir)?;
    }
    within(data, set_marker(data))?;
    within(&metadata_dir, fs::create_dir_all(&metadata_dir))?;
    lock.lock_metadata(data, &metadata_dir)?;
    // A state file of an interrupted restore describes the database that is replaced now.
    within(data, StateFile::of(data).remove())?;
    let copied = backup::restore(dir, data, &metadata_dir, progress).await.map_err(StartError::Restore)?;
    let opened = Opened::open_locked(config, OpenMode::Maintain, lock).await?;
    cancel_uploads(&opened.registry).await?;
    let verified = fsck(&opened.registry, true, progress).await?;
    within(data, remove_marker(data))?;
    Ok(Restored { copied, verified })
}

/// Cancels the uploads that were in progress: a backup does not contain their data.
async fn cancel_uploads(registry: &Registry) -> Result<(), ServiceError> {
    registry.recover().await?;
    let metadata = registry.metadata();
    let end = registry.end_of_upload();
    loop {
        let open = metadata.idle_uploads(Timestamp(i64::MAX), UPLOAD_BATCH).await?;
        if open.is_empty() {
            return Ok(());
        }
        for id in open {
            metadata.cancel_upload(id, None, end).await?;
        }
    }
}

/// Fails if the backup and the store overlap: the next backup would remove such a copy, and both could be lost
/// together.
fn refuse_backup_itself(dir: &Path, data: &Path, metadata_dir: &Path) -> Result<(), StartError> {
    let refused = refuse_overlap(dir, &[data, metadata_dir]);
    refused.map_err(|message| StartError::Restore(BackupError::Refused(message)))
}

fn refuse_non_empty(dir: &Path) -> Result<(), StartError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => within(dir, entries)?,
    };
    // Every new volume has `lost+found`, and locking has just created `lock`.
    let ignored = ["lock", "lost+found"];
    let full = entries.flatten().any(|entry| !ignored.iter().any(|name| entry.file_name() == *name));
    if full {
        return Err(StartError::NotEmpty(dir.into()));
    }
    Ok(())
}

fn set_marker(data: &Path) -> io::Result<()> {
    File::create(data.join(RESTORING))?.sync_all()?;
    File::open(data)?.sync_all()
}

fn remove_marker(data: &Path) -> io::Result<()> {
    fs::remove_file(data.join(RESTORING))?;
    File::open(data)?.sync_all()
}

fn within<T>(path: &Path, outcome: io::Result<T>) -> Result<T, StartError> {
    outcome.map_err(|error| StartError::Restore(BackupError::Io { path: path.into(), error }))
}
