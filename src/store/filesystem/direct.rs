//! Writing past the page cache.
//!
//! A large layer is written once and, on most machines, read seldom. Through the page cache it costs a fresh
//! page for every 4 KiB, a copy and a write-back, a second of CPU for each GiB, and pushes out what is pulled
//! often. Written directly it costs a tenth of that, and a sync has next to nothing left to wait for.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::{Buf, Bytes};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::store::buffers::ALIGNMENT;

/// Writes of fewer bytes than this are not worth the wait for the disk.
const LEAST: usize = 512 << 10;

/// Whether a store's files are written past the page cache.
pub(super) struct DirectWrites {
    /// The filesystem takes direct writes, as far as is known.
    works: AtomicBool,
}

impl Default for DirectWrites {
    fn default() -> Self {
        Self { works: AtomicBool::new(true) }
    }
}

impl DirectWrites {
    /// Writes as much of `piece` from its front as can be written past the page cache, and takes it off: all
    /// whole pages, if it is long and begins at one in the file and in memory. Tells how much. `file` is `path`
    /// opened for this, once that was needed.
    ///
    /// # Errors
    /// The disk's. A filesystem that takes no direct writes is no error.
    pub(super) fn write(
        &self,
        file: &mut Option<File>,
        path: &Path,
        offset: u64,
        piece: &mut Bytes,
    ) -> io::Result<usize> {
        let aligned = offset.is_multiple_of(ALIGNMENT as u64) && piece.as_ptr().align_offset(ALIGNMENT) == 0;
        if piece.len() < LEAST || !aligned || !self.works.load(Relaxed) {
            return Ok(0);
        }
        let len = piece.len() / ALIGNMENT * ALIGNMENT;
        match open(file, path).and_then(|file| file.write_all_at(&piece[..len], offset)) {
            Ok(()) => {
                piece.advance(len);
                Ok(len)
            }
            Err(error) if is_unsupported(&error) => {
                self.works.store(false, Relaxed);
                tracing::debug!(%error, "this filesystem takes no direct writes");
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }
}

fn open<'a>(file: &'a mut Option<File>, path: &Path) -> io::Result<&'a File> {
    match file {
        Some(file) => Ok(file),
        None => {
            let flags = OFlags::DIRECT.bits().cast_signed();
            Ok(file.insert(OpenOptions::new().write(true).custom_flags(flags).open(path)?))
        }
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Buffers;

    /// `len` bytes that differ, in memory that begins at a page.
    fn piece(len: usize) -> Bytes {
        let mut buffer = Buffers::new(len, 0).take();
        buffer.space().iter_mut().enumerate().for_each(|(at, byte)| *byte = (at % 251) as u8);
        buffer.into_bytes(len)
    }

    #[test]
    fn what_is_written_is_taken_off_and_the_rest_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        File::create(&path).expect("made");
        let writes = DirectWrites::default();
        let all = piece(LEAST + 3 * ALIGNMENT + 17);
        let mut rest = all.clone();
        let written = writes.write(&mut None, &path, 8192, &mut rest).expect("written");
        // The tests' own filesystem may be one that takes none.
        if writes.works.load(Relaxed) {
            assert_eq!(written, LEAST + 3 * ALIGNMENT);
            assert_eq!(std::fs::read(&path).expect("read")[8192..], all[..written]);
        }
        assert_eq!(rest, all[written..]);
    }

    #[test]
    fn what_does_not_fit_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let (writes, gone) = (DirectWrites::default(), dir.path().join("gone"));
        for (offset, from, len) in [(0, 0, LEAST - 1), (1, 0, LEAST), (4095, 0, LEAST), (0, 1, LEAST)] {
            let all = piece(from + len).slice(from..);
            let mut rest = all.clone();
            assert_eq!(writes.write(&mut None, &gone, offset, &mut rest).expect("left"), 0);
            assert_eq!(rest, all);
        }
        writes.write(&mut None, &gone, 0, &mut piece(LEAST)).expect_err("there is no such file");
    }
}
