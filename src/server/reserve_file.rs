//! Room that is kept back for the database.
//!
//! On a disk that is full to the last byte nothing could be deleted either, for a deletion is a transaction.
//! So a file without a purpose lies beside the database: it is removed when the disk is nearly full, and
//! made again when there is room.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use super::filesystem::free_space;
use crate::registry::DiskReserve;

/// How big the ballast is, in bytes.
const SIZE: u64 = 16 << 20;

/// Below this many free bytes it is dropped.
const DROP_BELOW: u64 = 16 << 20;

/// From this many free bytes on it is taken in again: so that it doesn't come and go.
const TAKE_FROM: u64 = 4 * SIZE;

/// The ballast of one metadata directory.
#[derive(Debug, Clone)]
pub struct ReserveFile {
    dir: PathBuf,
}

/// What became of the ballast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// It was dropped: the disk is nearly full.
    Dropped,
    /// It was taken in.
    Taken,
}

impl ReserveFile {
    /// The ballast in `dir`, which is not touched yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Drops it or takes it in, as the free space asks for. Blocks.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn trim(&self) -> io::Result<Change> {
        self.trim_at(free_space(&self.dir)?)
    }

    /// Drops it whatever the free space is: a delete found none. Whether it was there. Blocks.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn release(&self) -> io::Result<bool> {
        match fs::remove_file(self.dir.join("ballast")) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn trim_at(&self, free: u64) -> io::Result<Change> {
        let path = self.dir.join("ballast");
        match fs::metadata(&path) {
            Ok(_) if free < DROP_BELOW => fs::remove_file(&path).map(|()| Change::Dropped),
            Ok(found) if found.len() == SIZE => Ok(Change::None),
            Ok(_) | Err(_) if free < TAKE_FROM => Ok(Change::None),
            Ok(_) => take(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => take(&path),
            Err(error) => Err(error),
        }
    }
}

impl DiskReserve for ReserveFile {
    fn release(&self) -> bool {
        match Self::release(self) {
            Ok(true) => {
                tracing::warn!("the disk is full: the database's reserve was released for a delete");
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::warn!(%error, "the database's reserve could not be released");
                false
            }
        }
    }
}

fn take(path: &Path) -> io::Result<Change> {
    let taken = File::create(path).and_then(|file| fill(&file));
    if taken.is_err() {
        // Half a ballast is worse than none: it takes the room that it should keep.
        let _ = fs::remove_file(path);
    }
    taken.map(|()| Change::Taken)
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
    fn it_goes_when_room_is_short_and_comes_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let ballast = ReserveFile::new(dir.path());
        let exists = || dir.path().join("ballast").exists();
        assert_eq!(ballast.trim_at(TAKE_FROM).expect("taken"), Change::Taken);
        assert_eq!(ballast.trim_at(DROP_BELOW).expect("kept"), Change::None);
        assert!(exists());
        assert_eq!(ballast.trim_at(DROP_BELOW - 1).expect("dropped"), Change::Dropped);
        assert_eq!(ballast.trim_at(TAKE_FROM - 1).expect("still short"), Change::None);
        assert!(!exists());
        assert_eq!(ballast.trim_at(u64::MAX).expect("taken"), Change::Taken);
        assert!(exists());
        assert!(ballast.release().expect("released"));
        assert!(!exists());
        assert!(!ballast.release().expect("there is none"));
    }
}
