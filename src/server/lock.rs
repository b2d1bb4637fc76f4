//! Locks that give one process exclusive use of a data directory and its metadata directory. The kernel releases them
//! when the process ends for any reason.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// The role of a locked directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedDirectory {
    /// `storage.data`, or a backup.
    Data,
    /// `metadata.dir`.
    Metadata,
}

impl LockedDirectory {
    fn name(self) -> &'static str {
        match self {
            Self::Data => "data directory",
            Self::Metadata => "metadata directory",
        }
    }

    fn setting(self) -> &'static str {
        match self {
            Self::Data => "storage.data",
            Self::Metadata => "metadata.dir",
        }
    }
}

/// Why a directory could not be locked.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process holds the lock.
    #[error(
        "the {} {} is in use by another orlop{}: stop it first, or choose another {}",
        directory.name(),
        path.display(),
        pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        directory.setting()
    )]
    Held {
        /// The directory's role.
        directory: LockedDirectory,
        /// The directory.
        path: PathBuf,
        /// The process that holds the lock, if the lock file names it.
        pid: Option<String>,
    },
    /// The lock file cannot be opened or locked.
    #[error("the lock file {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
}

/// Exclusive use of a directory until dropped.
#[derive(Debug)]
pub struct DataLock {
    /// `None` on a read-only medium without a lock file, where no process can write.
    _file: Option<File>,
}

/// Exclusive use of a store until dropped: its data directory and its metadata directory.
#[derive(Debug)]
pub(super) struct StoreLock {
    _data: DataLock,
    metadata: Option<DataLock>,
}

impl StoreLock {
    /// Locks the data directory `data`, which must exist.
    ///
    /// # Errors
    /// Fails with [`LockError::Held`] if another process holds the lock.
    pub(super) fn take(data: &Path) -> Result<Self, LockError> {
        Ok(Self { _data: DataLock::take(data)?, metadata: None })
    }

    /// Locks the directory `metadata` too, if it exists and is not `data` itself.
    ///
    /// # Errors
    /// Fails with [`LockError::Held`] if another process holds the lock.
    pub(super) fn lock_metadata(&mut self, data: &Path, metadata: &Path) -> Result<(), LockError> {
        let Ok(real) = metadata.canonicalize() else {
            return Ok(());
        };
        if self.metadata.is_none() && data.canonicalize().ok() != Some(real) {
            self.metadata = Some(DataLock::take_for(metadata, LockedDirectory::Metadata)?);
        }
        Ok(())
    }
}

impl DataLock {
    /// Locks the data directory `data`, which must exist.
    ///
    /// # Errors
    /// Fails with [`LockError::Held`] if another process holds the lock.
    pub fn take(data: &Path) -> Result<Self, LockError> {
        Self::take_for(data, LockedDirectory::Data)
    }

    fn take_for(dir: &Path, directory: LockedDirectory) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let Some(mut file) = open(&path).map_err(|error| LockError::Io { path: path.clone(), error })? else {
            return Ok(Self { _file: None });
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { directory, path: dir.into(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io { path, error }),
        }
        // The process id is informational: the lock holds even if it cannot be written.
        let _ = write_pid(&mut file);
        Ok(Self { _file: Some(file) })
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    match opened {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::ROFS) => {}
        opened => return opened.map(Some),
    }
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<String> {
    let mut pid = String::new();
    file.take(32).read_to_string(&mut pid).ok()?;
    let pid = pid.trim();
    pid.parse::<u32>().ok().map(|pid| pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_the_process_that_holds_the_lock() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = DataLock::take(dir.path()).expect("free");
        let refusal = DataLock::take(dir.path()).expect_err("taken").to_string();
        let data = dir.path().display();
        let pid = std::process::id();
        assert_eq!(
            refusal,
            format!(
                "the data directory {data} is in use by another orlop (process {pid}): \
                 stop it first, or choose another storage.data"
            )
        );
        drop(first);
        DataLock::take(dir.path()).expect("free again");
    }

    #[test]
    fn metadata_directory_has_one_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        for name in ["one", "two", "metadata"] {
            std::fs::create_dir(path(name)).expect("made");
        }
        let lock = |data: &str, metadata: &str| {
            let mut lock = StoreLock::take(&path(data))?;
            lock.lock_metadata(&path(data), &path(metadata)).map(|()| lock)
        };
        let first = lock("one", "metadata").expect("free");
        let refusal = lock("two", "metadata").expect_err("taken").to_string();
        let expected = format!("the metadata directory {} is in use by", path("metadata").display());
        assert!(refusal.starts_with(&expected) && refusal.ends_with("metadata.dir"), "{refusal}");
        drop(first);
        lock("two", "metadata").expect("free again");
        lock("one", "one").expect("one directory is locked once");
        lock("one", "missing").expect("there is nothing to lock yet");
    }
}
