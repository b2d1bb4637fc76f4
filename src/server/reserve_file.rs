//! Disk space reserved for the database.
//!
//! On a completely full disk nothing could be deleted either, because a deletion is a database transaction. So a file
//! without content of use, `ballast`, lies next to the database. It is removed when the disk is nearly full and
//! created again when there is enough space.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use super::filesystem::free_space;
use crate::registry::DiskReserve;
use crate::store::durable;

/// Size of the reserve file in bytes.
const SIZE: u64 = 16 << 20;

/// The file is removed below this many free bytes.
const DROP_BELOW: u64 = 16 << 20;

/// The file is created from this many free bytes on. The distance to [`DROP_BELOW`] avoids flapping.
const CREATE_FROM: u64 = 4 * SIZE;

/// The reserve file of one metadata directory.
#[derive(Debug, Clone)]
pub(super) struct ReserveFile {
    dir: PathBuf,
}

/// What happened to the reserve file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It stayed as it was.
    None,
    /// It was removed: the disk is nearly full.
    Dropped,
    /// It was created.
    Taken,
}

impl ReserveFile {
    /// Describes the reserve file in `dir`. Changes nothing yet.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Creates or removes the file as the free space requires. Blocks.
    ///
    /// # Errors
    /// Fails if the filesystem fails.
    pub(super) fn trim(&self) -> io::Result<Change> {
        self.trim_at(free_space(&self.dir)?)
    }

    /// Removes the file at once, because a deletion found no space. Returns whether it existed. Blocks.
    ///
    /// # Errors
    /// Fails if the filesystem fails.
    pub(super) fn release(&self) -> io::Result<bool> {
        durable::remove(&self.dir.join("ballast"))
    }

    fn trim_at(&self, free: u64) -> io::Result<Change> {
        let path = self.dir.join("ballast");
        match fs::metadata(&path) {
            Ok(_) if free < DROP_BELOW => fs::remove_file(&path).map(|()| Change::Dropped),
            Ok(found) if found.len() == SIZE => Ok(Change::None),
            Ok(_) | Err(_) if free < CREATE_FROM => Ok(Change::None),
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

fn create(path: &Path) -> io::Result<Change> {
    let created = File::create(path).and_then(|file| fill(&file));
    if created.is_err() {
        // A partial file would only occupy the space that it should reserve.
        let _ = fs::remove_file(path);
    }
    created.map(|()| Change::Taken)
}

fn fill(mut file: &File) -> io::Result<()> {
    if fallocate(file, FallocateFlags::empty(), 0, SIZE).is_ok() {
        return Ok(());
    }
    let zeros = vec![0; 1 << 20];
    for _ in 0..SIZE >> 20 {
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
        assert_eq!(reserve.trim_at(CREATE_FROM).expect("taken"), Change::Taken);
        assert_eq!(reserve.trim_at(DROP_BELOW).expect("kept"), Change::None);
        assert!(exists());
        assert_eq!(reserve.trim_at(DROP_BELOW - 1).expect("dropped"), Change::Dropped);
        assert_eq!(reserve.trim_at(CREATE_FROM - 1).expect("still short"), Change::None);
        assert!(!exists());
        assert_eq!(reserve.trim_at(u64::MAX).expect("taken"), Change::Taken);
        assert!(exists());
        assert!(reserve.release().expect("released"));
        assert!(!exists());
        assert!(!reserve.release().expect("there is none"));
    }
}
