//! The facts of a backup, and how a new copy of them takes the place of the previous one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::BackupError;
use crate::metadata::Maintenance;
use crate::metadata::sqlite::{self, SqliteMetadata};
use crate::store::STATE_FILE;

/// Where a backup's facts are within it.
pub const METADATA: &str = "metadata";

/// Where the next ones are made.
const INCOMING: &str = "incoming";

/// Where the previous ones are while they are replaced, on filesystems that cannot exchange two names.
const PREVIOUS: &str = "previous";

/// Where the metadata of an older version's backup is brought up to date.
const MIGRATING: &str = "orlop.db.migrating";

/// The database's file.
const DATABASE: &str = "orlop.db";

/// The identity's file.
const IDENTITY: &str = "orlop.json";

/// Copies the facts to `dir/incoming`, and opens the copy.
pub(super) async fn copy(
    facts: &(impl Maintenance + ?Sized),
    dir: &Path,
) -> Result<SqliteMetadata, BackupError> {
    settle(dir)?;
    let incoming = dir.join(INCOMING);
    within(&incoming, remove_dir(&incoming).and_then(|()| fs::create_dir(&incoming)))?;
    let path = incoming.join(DATABASE);
    facts.copy_to(&path).await?;
    within(&path, sync(&path).and_then(|()| sync(&incoming)))?;
    Ok(SqliteMetadata::open(&incoming, sqlite::Access::ReadOnly)?)
}

/// Makes `dir/incoming` what `dir/metadata` is: whole folders change places, so that a log that somebody
/// left beside the previous database never meets the new one.
pub(super) fn replace(dir: &Path) -> Result<(), BackupError> {
    let (incoming, current) = (dir.join(INCOMING), dir.join(METADATA));
    // What fsck recorded there is about the previous database.
    within(dir, remove_file(&dir.join(STATE_FILE)).and_then(|()| sync(dir)))?;
    let replaced = if current.exists() { exchange(dir) } else { fs::rename(&incoming, &current) };
    within(&current, replaced.and_then(|()| sync(dir)))?;
    within(&incoming, remove_dir(&incoming))
}

fn exchange(dir: &Path) -> io::Result<()> {
    let (incoming, current, previous) = (dir.join(INCOMING), dir.join(METADATA), dir.join(PREVIOUS));
    if renameat_with(CWD, &incoming, CWD, &current, RenameFlags::EXCHANGE).is_ok() {
        return Ok(());
    }
    remove_dir(&previous)?;
    fs::rename(&current, &previous)?;
    fs::rename(&incoming, &current)?;
    sync(dir)?;
    remove_dir(&previous)
}

/// Puts the previous facts back, if a replacement was cut off between its two renames.
pub(super) fn settle(dir: &Path) -> Result<(), BackupError> {
    let (current, previous) = (dir.join(METADATA), dir.join(PREVIOUS));
    if current.exists() || !previous.exists() {
        return Ok(());
    }
    within(&current, fs::rename(&previous, &current).and_then(|()| sync(dir)))
}

/// The metadata of a backup, and the folder that it was brought up to date in, if an older version made it.
pub(super) struct BackupMetadata {
    pub(super) facts: SqliteMetadata,
    migrated_in: Option<PathBuf>,
}

impl BackupMetadata {
    /// Opens the metadata of the backup in `dir`. The backup stays as it is: what an older version made is migrated as a
    /// copy in `metadata_dir`.
    pub(super) fn open(dir: &Path, metadata_dir: &Path) -> Result<Self, BackupError> {
        let original = dir.join(METADATA);
        let scratch = metadata_dir.join(MIGRATING);
        within(&scratch, remove_dir(&scratch))?;
        match SqliteMetadata::open(&original, sqlite::Access::ReadOnly) {
            Ok(facts) => Ok(Self { facts, migrated_in: None }),
            Err(sqlite::OpenError::NotReady(_)) if original.join(DATABASE).is_file() => {
                within(&scratch, fs::create_dir_all(&scratch))?;
                copy_database(&original, &scratch)?;
                let facts = SqliteMetadata::open(&scratch, sqlite::Access::ReadWrite)?;
                Ok(Self { facts, migrated_in: Some(scratch) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Closes it and removes the copy.
    pub(super) fn close(self) -> Result<(), BackupError> {
        let Self { facts, migrated_in } = self;
        drop(facts);
        migrated_in.map_or(Ok(()), |scratch| within(&scratch, remove_dir(&scratch)))
    }
}

/// Copies a database with its log, if it has one.
fn copy_database(from: &Path, to: &Path) -> Result<(), BackupError> {
    for name in [DATABASE, "orlop.db-wal"] {
        let source = from.join(name);
        if source.exists() {
            within(&source, fs::copy(&source, to.join(name)).map(drop))?;
        }
    }
    Ok(())
}

/// Copies `facts` to their place in `metadata_dir`.
pub(super) async fn place(facts: &SqliteMetadata, metadata_dir: &Path) -> Result<(), BackupError> {
    let draft = metadata_dir.join("orlop.db.restoring");
    let made = fs::create_dir_all(metadata_dir).and_then(|()| remove_file(&draft));
    within(metadata_dir, made)?;
    facts.copy_to(&draft).await?;
    let database = metadata_dir.join(DATABASE);
    let placed =
        sync(&draft).and_then(|()| remove_logs(&database)).and_then(|()| fs::rename(&draft, &database));
    within(metadata_dir, placed.and_then(|()| sync(metadata_dir)))
}

/// Removes the log of a database that is about to be replaced: it would be replayed over the new one.
fn remove_logs(database: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        remove_file(Path::new(&name))?;
    }
    Ok(())
}

/// Gives the store at `to` the identity of that at `from`.
pub(super) fn copy_identity(from: &Path, to: &Path) -> Result<(), BackupError> {
    if to.join("blobs").exists() {
        let message = format!("{} holds blobs but no {IDENTITY}: it is no backup", to.display());
        return Err(BackupError::Refused(message));
    }
    let draft = to.join("orlop.json.draft");
    let copied = fs::copy(from.join(IDENTITY), &draft).and_then(|_| sync(&draft));
    let placed = copied.and_then(|()| fs::rename(&draft, to.join(IDENTITY))).and_then(|()| sync(to));
    within(to, placed)
}

fn within<T>(path: &Path, outcome: io::Result<T>) -> Result<T, BackupError> {
    outcome.map_err(|error| BackupError::Io { path: path.into(), error })
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn remove_dir(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_dir_all(path))
}

fn remove_file(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_backup_of_an_older_version_is_migrated_as_a_copy() {
        let (backup, restored) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
        let original = backup.path().join(METADATA);
        fs::create_dir(&original).expect("made");
        sqlite::make_old(&original, 11)
            .execute_batch("INSERT INTO repositories (id, name, created_at) VALUES (1, 'app', 0)")
            .expect("filled");
        let before = fs::read(original.join(DATABASE)).expect("read");
        let opened = BackupMetadata::open(backup.path(), restored.path()).expect("opened");
        place(&opened.facts, restored.path()).await.expect("placed");
        opened.close().expect("closed");
        assert_eq!(fs::read(original.join(DATABASE)).expect("read"), before);
        assert!(!restored.path().join(MIGRATING).exists());
        let facts = SqliteMetadata::open(restored.path(), sqlite::Access::ReadOnly).expect("up to date");
        let name = "app".parse().expect("name");
        assert!(crate::metadata::Manifests::repository_exists(&facts, &name).await.expect("an answer"));
    }
}
