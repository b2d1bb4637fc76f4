//! The metadata of a backup, and how a new copy replaces the previous one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::report::BackupError;
use crate::metadata::sqlite;
use crate::metadata::{Access, Metadata};
use crate::store::STATE_FILE;

/// The directory of the metadata within a backup.
pub const METADATA: &str = "metadata";

/// The directory in which a new copy is made.
const INCOMING: &str = "incoming";

/// The directory of the previous copy during the replacement, on filesystems that can't exchange two names.
const PREVIOUS: &str = "previous";

/// The directory in which the metadata of an older version's backup is migrated.
const MIGRATING: &str = "orlop.db.migrating";

/// The name of the database file.
const DATABASE: &str = "orlop.db";

/// The name of the file with the store's identity.
const IDENTITY: &str = "orlop.json";

/// Copies the metadata to `dir/incoming`, and opens the copy.
pub(super) async fn copy(metadata: &Metadata, dir: &Path) -> Result<Metadata, BackupError> {
    recover_interrupted(dir)?;
    let incoming = dir.join(INCOMING);
    at_path(&incoming, remove_dir(&incoming).and_then(|()| fs::create_dir(&incoming)))?;
    let path = incoming.join(DATABASE);
    metadata.copy_to(&path).await?;
    at_path(&path, sync(&path).and_then(|()| sync(&incoming)))?;
    Ok(Metadata::open(&incoming, Access::ReadOnly)?)
}

/// Replaces `dir/metadata` by `dir/incoming`. Whole directories are exchanged, so that a log left beside the previous
/// database is never applied to the new one.
pub(super) fn replace(dir: &Path) -> Result<(), BackupError> {
    let incoming = dir.join(INCOMING);
    let current = dir.join(METADATA);
    // The results of fsck recorded there are about the previous database.
    at_path(dir, remove_file(&dir.join(STATE_FILE)).and_then(|()| sync(dir)))?;
    let replaced = if current.exists() { exchange(dir) } else { fs::rename(&incoming, &current) };
    at_path(&current, replaced.and_then(|()| sync(dir)))?;
    at_path(&incoming, remove_dir(&incoming))
}

fn exchange(dir: &Path) -> io::Result<()> {
    let incoming = dir.join(INCOMING);
    let current = dir.join(METADATA);
    let previous = dir.join(PREVIOUS);
    if renameat_with(CWD, &incoming, CWD, &current, RenameFlags::EXCHANGE).is_ok() {
        return Ok(());
    }
    remove_dir(&previous)?;
    fs::rename(&current, &previous)?;
    fs::rename(&incoming, &current)?;
    sync(dir)?;
    remove_dir(&previous)
}

/// Moves the previous metadata back, if a replacement was interrupted between its two renames.
pub(super) fn recover_interrupted(dir: &Path) -> Result<(), BackupError> {
    let current = dir.join(METADATA);
    let previous = dir.join(PREVIOUS);
    if current.exists() || !previous.exists() {
        return Ok(());
    }
    at_path(&current, fs::rename(&previous, &current).and_then(|()| sync(dir)))
}

/// The open metadata of a backup. Metadata of an older version is migrated in a separate directory.
pub(super) struct BackupMetadata {
    pub(super) metadata: Metadata,
    migrated_in: Option<PathBuf>,
}

impl BackupMetadata {
    /// Opens the metadata of the backup in `dir`. The backup itself is not changed: metadata of an older version is
    /// copied to `metadata_dir` and migrated there.
    pub(super) fn open(dir: &Path, metadata_dir: &Path) -> Result<Self, BackupError> {
        let original = dir.join(METADATA);
        let scratch = metadata_dir.join(MIGRATING);
        at_path(&scratch, remove_dir(&scratch))?;
        match Metadata::open(&original, Access::ReadOnly) {
            Ok(metadata) => Ok(Self { metadata, migrated_in: None }),
            Err(sqlite::OpenError::NotReady(_)) if original.join(DATABASE).is_file() => {
                at_path(&scratch, fs::create_dir_all(&scratch))?;
                copy_database(&original, &scratch)?;
                let metadata = Metadata::open(&scratch, Access::ReadWrite)?;
                Ok(Self { metadata, migrated_in: Some(scratch) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Closes the database and removes the migrated copy.
    pub(super) fn close(self) -> Result<(), BackupError> {
        let Self { metadata, migrated_in } = self;
        drop(metadata);
        migrated_in.map_or(Ok(()), |scratch| at_path(&scratch, remove_dir(&scratch)))
    }
}

/// Copies a database and its log, if it has one.
fn copy_database(from: &Path, to: &Path) -> Result<(), BackupError> {
    for name in [DATABASE, "orlop.db-wal"] {
        let source = from.join(name);
        if source.exists() {
            at_path(&source, fs::copy(&source, to.join(name)).map(drop))?;
        }
    }
    Ok(())
}

/// Copies `metadata` to its final place in `metadata_dir`.
pub(super) async fn install(metadata: &Metadata, metadata_dir: &Path) -> Result<(), BackupError> {
    let draft = metadata_dir.join("orlop.db.restoring");
    let made = fs::create_dir_all(metadata_dir).and_then(|()| remove_file(&draft));
    at_path(metadata_dir, made)?;
    metadata.copy_to(&draft).await?;
    let database = metadata_dir.join(DATABASE);
    let installed =
        sync(&draft).and_then(|()| remove_logs(&database)).and_then(|()| fs::rename(&draft, &database));
    at_path(metadata_dir, installed.and_then(|()| sync(metadata_dir)))
}

/// Removes the log of a database that is about to be replaced, because it would be replayed over the new one.
fn remove_logs(database: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        remove_file(Path::new(&name))?;
    }
    Ok(())
}

/// Gives the store at `to` the identity of the store at `from`.
pub(super) fn copy_identity(from: &Path, to: &Path) -> Result<(), BackupError> {
    if to.join("blobs").exists() {
        let message = format!("{} holds blobs but no {IDENTITY}; it is not a backup", to.display());
        return Err(BackupError::Refused(message));
    }
    let draft = to.join("orlop.json.draft");
    let copied = fs::copy(from.join(IDENTITY), &draft).and_then(|_| sync(&draft));
    let installed = copied.and_then(|()| fs::rename(&draft, to.join(IDENTITY))).and_then(|()| sync(to));
    at_path(to, installed)
}

fn at_path<T>(path: &Path, outcome: io::Result<T>) -> Result<T, BackupError> {
    outcome.map_err(|error| BackupError::Io { path: path.into(), error })
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn remove_dir(path: &Path) -> io::Result<()> {
    ignore_not_found(fs::remove_dir_all(path))
}

fn remove_file(path: &Path) -> io::Result<()> {
    ignore_not_found(fs::remove_file(path))
}

fn ignore_not_found(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn migrates_the_backup_of_an_older_version_as_a_copy() {
        let backup = tempfile::tempdir().expect("folder");
        let restored = tempfile::tempdir().expect("folder");
        let original = backup.path().join(METADATA);
        fs::create_dir(&original).expect("made");
        sqlite::create_old_database(&original, 11)
            .execute_batch("INSERT INTO repositories (id, name, created_at) VALUES (1, 'app', 0)")
            .expect("filled");
        let before = fs::read(original.join(DATABASE)).expect("read");
        let opened = BackupMetadata::open(backup.path(), restored.path()).expect("opened");
        install(&opened.metadata, restored.path()).await.expect("installed");
        opened.close().expect("closed");
        assert_eq!(fs::read(original.join(DATABASE)).expect("read"), before);
        assert!(!restored.path().join(MIGRATING).exists());
        let metadata = Metadata::open(restored.path(), Access::ReadOnly).expect("up to date");
        let name = "app".parse().expect("name");
        assert!(metadata.repository_exists(&name).await.expect("an answer"));
    }
}
