//! One process owns a data directory. The lock is the kernel's: it ends with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// Why a data directory could not be locked.
#[derive(Debug, Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error(
        "the data directory {} is in use by another orlop{}: stop that first, or choose another storage.data",
        data.display(),
        pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Held {
        /// Which.
        data: PathBuf,
        /// Whose it is, if that can be read.
        pid: Option<String>,
    },
    /// The lock file cannot be opened.
    #[error("the lock file {}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Ownership of a data directory, while this lives.
#[derive(Debug)]
pub struct DataLock {
    /// `None` on a read-only medium without a lock file: there nobody can write anyway.
    _file: Option<File>,
}

impl DataLock {
    /// Takes the lock of the directory `data`, which exists.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process has it.
    pub fn take(data: &Path) -> Result<Self, LockError> {
        let path = data.join("lock");
        let Some(mut file) = open(&path).map_err(|error| LockError::Io { path: path.clone(), error })? else {
            return Ok(Self { _file: None });
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { data: data.into(), pid: owner(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io { path, error }),
        }
        // Only for people to read: a medium that refuses it is locked all the same.
        let _ = sign(&mut file);
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

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn owner(file: &mut File) -> Option<String> {
    let mut pid = String::new();
    file.take(32).read_to_string(&mut pid).ok()?;
    let pid = pid.trim();
    pid.parse::<u32>().ok().map(|pid| pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = DataLock::take(dir.path()).expect("free");
        let refusal = DataLock::take(dir.path()).expect_err("taken").to_string();
        let (data, pid) = (dir.path().display(), std::process::id());
        assert_eq!(
            refusal,
            format!(
                "the data directory {data} is in use by another orlop (process {pid}): \
                 stop that first, or choose another storage.data"
            )
        );
        drop(first);
        DataLock::take(dir.path()).expect("free again");
    }
}
