//! Writes around the page cache (`O_DIRECT`).
//!
//! A large layer is written once and, on most machines, seldom read. Writing it through the page cache costs a new page
//! for every 4 KiB, a copy and a write-back: a second of CPU time for each GiB. It also evicts content that is pulled
//! often. A direct write costs a tenth of that, and leaves next to nothing for a sync to wait for.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::{Buf, Bytes};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::store::buffers::ALIGNMENT;

/// Smaller writes are not worth waiting for the disk.
const MIN_DIRECT_WRITE: usize = 512 << 10;

/// Writes the files of a store around the page cache, if the filesystem supports it.
pub(super) struct DirectWrites {
    /// Whether the filesystem supports direct writes, as far as is known.
    works: AtomicBool,
}

impl Default for DirectWrites {
    fn default() -> Self {
        Self { works: AtomicBool::new(true) }
    }
}

impl DirectWrites {
    /// Writes the part at the front of `piece` that can be written around the page cache, removes it from `piece` and
    /// returns its length. This part is all whole pages, if the piece is long and aligned both in the file and in
    /// memory. `file` is `path` opened for direct writes, once that was needed.
    ///
    /// # Errors
    /// Errors of the disk. A filesystem without support for direct writes is not an error.
    pub(super) fn write(
        &self,
        file: &mut Option<File>,
        path: &Path,
        offset: u64,
        piece: &mut Bytes,
    ) -> io::Result<usize> {
        let aligned = offset.is_multiple_of(ALIGNMENT as u64) && piece.as_ptr().align_offset(ALIGNMENT) == 0;
        if piece.len() < MIN_DIRECT_WRITE || !aligned || !self.works.load(Relaxed) {
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
                tracing::debug!(%error, "the filesystem does not support direct writes");
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

    /// Returns `len` bytes with a pattern, in page-aligned memory.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder below 251")]
    fn piece(len: usize) -> Bytes {
        let mut buffer = Buffers::new(len, 0).take();
        buffer.space().iter_mut().enumerate().for_each(|(at, byte)| *byte = (at % 251) as u8);
        buffer.into_bytes(len)
    }

    #[test]
    fn removes_written_pages_from_the_piece() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        File::create(&path).expect("made");
        let writes = DirectWrites::default();
        let all = piece(MIN_DIRECT_WRITE + 3 * ALIGNMENT + 17);
        let mut rest = all.clone();
        let written = writes.write(&mut None, &path, 8192, &mut rest).expect("written");
        // The filesystem of the tests may not support direct writes.
        if writes.works.load(Relaxed) {
            assert_eq!(written, MIN_DIRECT_WRITE + 3 * ALIGNMENT);
            assert_eq!(std::fs::read(&path).expect("read")[8192..], all[..written]);
        }
        assert_eq!(rest, all[written..]);
    }

    #[test]
    fn leaves_short_or_unaligned_pieces() {
        let dir = tempfile::tempdir().expect("a directory");
        let writes = DirectWrites::default();
        let missing = dir.path().join("missing");
        for (offset, from, len) in [
            (0, 0, MIN_DIRECT_WRITE - 1),
            (1, 0, MIN_DIRECT_WRITE),
            (4095, 0, MIN_DIRECT_WRITE),
            (0, 1, MIN_DIRECT_WRITE),
        ] {
            let all = piece(from + len).slice(from..);
            let mut rest = all.clone();
            assert_eq!(writes.write(&mut None, &missing, offset, &mut rest).expect("left"), 0);
            assert_eq!(rest, all);
        }
        writes
            .write(&mut None, &missing, 0, &mut piece(MIN_DIRECT_WRITE))
            .expect_err("there is no such file");
    }
}
