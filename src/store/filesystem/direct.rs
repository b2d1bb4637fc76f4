//! Writing past the page cache.
//!
//! A large layer is written once and, on most machines, read seldom. Through the page cache it costs a fresh
//! page for every 4 KiB, a second copy and a write-back, a second of CPU for each GiB, and pushes out what is
//! pulled often. Written directly it costs a tenth of that, and a sync has next to nothing left to wait for.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use bytes::{Buf, Bytes};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// What offset, length and memory of a direct write must be multiples of: the page, which no disk's block
/// exceeds.
const ALIGNMENT: usize = 4096;

/// Writes of fewer bytes than this are not worth the wait for the disk.
const LEAST: usize = 512 << 10;

/// How much is written at once.
const BUFFER: usize = 1 << 20;

/// How many writes may go past the page cache at once: what that takes of memory is bounded.
const MOST_BUFFERS: usize = 8;

/// Whether and how a store's files are written past the page cache.
pub(super) struct DirectWrites {
    /// The filesystem takes direct writes, as far as is known.
    works: AtomicBool,
    buffers: Mutex<Buffers>,
}

struct Buffers {
    idle: Vec<Buffer>,
    in_use: usize,
}

/// Memory of which a part is aligned.
struct Buffer {
    memory: Box<[u8]>,
    start: usize,
}

impl Default for DirectWrites {
    fn default() -> Self {
        Self { works: AtomicBool::new(true), buffers: Mutex::new(Buffers { idle: Vec::new(), in_use: 0 }) }
    }
}

impl DirectWrites {
    /// Writes as much of `pieces` from their front as can be written past the page cache, and takes it off
    /// them. Tells how much. `file` is `path` opened for this, once that was needed.
    ///
    /// # Errors
    /// The disk's. A filesystem that takes no direct writes is no error.
    pub(super) fn write(
        &self,
        file: &mut Option<File>,
        path: &Path,
        offset: u64,
        pieces: &mut Vec<Bytes>,
    ) -> io::Result<usize> {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        if len < LEAST || !offset.is_multiple_of(ALIGNMENT as u64) || !self.works.load(Relaxed) {
            return Ok(0);
        }
        let Some(mut buffer) = self.take() else { return Ok(0) };
        let written = match open(file, path) {
            Ok(file) => write_aligned(file, &mut buffer, offset, pieces, len / ALIGNMENT * ALIGNMENT),
            Err(error) => Err(error),
        };
        self.give_back(buffer);
        match written {
            Err(error) if is_unsupported(&error) => {
                self.works.store(false, Relaxed);
                tracing::debug!(%error, "this filesystem takes no direct writes");
                Ok(0)
            }
            written => written,
        }
    }

    fn take(&self) -> Option<Buffer> {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.in_use == MOST_BUFFERS {
            return None;
        }
        buffers.in_use += 1;
        Some(buffers.idle.pop().unwrap_or_else(Buffer::new))
    }

    fn give_back(&self, buffer: Buffer) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.in_use -= 1;
        // One for each processor of a small box; more come and go.
        if buffers.idle.len() < 2 {
            buffers.idle.push(buffer);
        }
    }
}

impl Buffer {
    fn new() -> Self {
        let memory = vec![0; BUFFER + ALIGNMENT].into_boxed_slice();
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start }
    }

    fn aligned(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + BUFFER]
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

/// Writes `len` bytes, a multiple of the alignment, off the front of `pieces`. What is taken off is written,
/// also where an error follows.
fn write_aligned(
    file: &File,
    buffer: &mut Buffer,
    offset: u64,
    pieces: &mut Vec<Bytes>,
    len: usize,
) -> io::Result<usize> {
    let mut written = 0;
    while written < len {
        let part = &mut buffer.aligned()[..(len - written).min(BUFFER)];
        gather(pieces, part);
        if let Err(error) = file.write_all_at(part, offset + written as u64) {
            // Nothing is lost: what was taken off goes back.
            pieces.insert(0, Bytes::copy_from_slice(part));
            return if written == 0 { Err(error) } else { Ok(written) };
        }
        written += part.len();
    }
    Ok(written)
}

/// Fills `part` from the front of `pieces`, which have that many bytes.
fn gather(pieces: &mut Vec<Bytes>, part: &mut [u8]) {
    let (mut filled, mut emptied) = (0, 0);
    for piece in pieces.iter_mut() {
        let count = piece.len().min(part.len() - filled);
        part[filled..filled + count].copy_from_slice(&piece[..count]);
        piece.advance(count);
        filled += count;
        if !piece.is_empty() {
            break;
        }
        emptied += 1;
    }
    pieces.drain(..emptied);
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `len` bytes that differ, in pieces of about `piece`.
    fn pieces(len: usize, piece: usize) -> (Vec<u8>, Vec<Bytes>) {
        let all: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let pieces = all.chunks(piece).map(Bytes::copy_from_slice).collect();
        (all, pieces)
    }

    #[test]
    fn what_is_written_is_taken_off_and_the_rest_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        File::create(&path).expect("made");
        let writes = DirectWrites::default();
        let (all, mut pieces) = pieces(2 * BUFFER + ALIGNMENT + 17, 100_003);
        let written = writes.write(&mut None, &path, 8192, &mut pieces).expect("written");
        // The tests' own filesystem may be one that takes none.
        if writes.works.load(Relaxed) {
            assert_eq!(written, 2 * BUFFER + ALIGNMENT);
            assert_eq!(std::fs::read(&path).expect("read")[8192..], all[..written]);
        }
        assert_eq!(pieces.concat(), all[written..]);
        assert_eq!(writes.buffers.lock().expect("sound").in_use, 0);
    }

    #[test]
    fn what_does_not_fit_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let (writes, gone) = (DirectWrites::default(), dir.path().join("gone"));
        for (offset, len) in [(0, LEAST - 1), (1, LEAST), (4095, BUFFER)] {
            let (all, mut pieces) = pieces(len, 4096);
            assert_eq!(writes.write(&mut None, &gone, offset, &mut pieces).expect("left"), 0);
            assert_eq!(pieces.concat(), all);
        }
        let (_, mut pieces) = pieces(LEAST, 4096);
        writes.write(&mut None, &gone, 0, &mut pieces).expect_err("there is no such file");
    }

    #[test]
    fn no_more_buffers_than_are_allowed() {
        let writes = DirectWrites::default();
        let taken: Vec<Buffer> = (0..MOST_BUFFERS).filter_map(|_| writes.take()).collect();
        assert_eq!(taken.len(), MOST_BUFFERS);
        assert!(writes.take().is_none());
        taken.into_iter().for_each(|buffer| writes.give_back(buffer));
        assert!(writes.take().is_some());
    }
}
