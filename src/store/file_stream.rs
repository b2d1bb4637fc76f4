//! Reads a file piece by piece, or hands out the parts of it that are cached.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

use super::buffers::{Buffer, Buffers};
use super::error::StoreError;

/// How many bytes are read at once: enough to make system calls cheap, and few enough to fit the processor's cache.
pub(super) const PIECE: usize = 256 << 10;

/// The distance at which a part that is sent unread is checked for being cached.
const CACHE_CHECK_INTERVAL: u64 = 256 << 10;

/// The maximum length of such a part.
const MAX_PART: u64 = 1 << 20;

/// A part of an open file.
#[derive(Debug, Clone)]
pub struct FilePart {
    /// The file.
    pub file: Arc<File>,
    /// The range of its bytes.
    pub range: Range<u64>,
}

/// Reads a range of a file. Bytes in the page cache are copied at once; others are read on a blocking thread.
pub struct FileStream {
    file: Arc<File>,
    rest: Range<u64>,
    pieces: Arc<Buffers>,
    running: Option<JoinHandle<io::Result<Bytes>>>,
    /// The maximum number of bytes read at once.
    max_piece: usize,
}

impl FileStream {
    pub(super) fn new(file: Arc<File>, range: Range<u64>, pieces: Arc<Buffers>) -> Self {
        // Doubles the kernel's read-ahead. Filesystems that take no advice can be read as well.
        let _ = rustix::fs::fadvise(&*file, range.start, None, Advice::Sequential);
        Self { file, rest: range, pieces, running: None, max_piece: PIECE }
    }

    /// Limits reads to this many bytes at once from now on.
    pub fn limit_pieces(&mut self, bytes: usize) {
        self.max_piece = bytes.clamp(1, PIECE);
        self.pieces = Buffers::new(self.max_piece, 1);
    }

    /// Returns the next bytes as a part of the file, for a kernel that can send them by itself, and counts them as
    /// read. `None` if a disk may have to be waited for, or if nothing is left.
    pub fn next_cached_part(&mut self) -> Option<FilePart> {
        if self.running.is_some() {
            return None;
        }
        let limit = self.rest.end.min(self.rest.start + MAX_PART);
        let mut end = self.rest.start;
        // A missing page between two cached ones is possible, and costs a wait.
        while end < limit && read_cached(&self.file, &mut [0], end).is_some() {
            end = limit.min(end + CACHE_CHECK_INTERVAL);
        }
        let range = self.rest.start..end;
        self.rest.start = end;
        (!range.is_empty()).then(|| FilePart { file: Arc::clone(&self.file), range })
    }

    /// Returns the next piece if it is cached; otherwise starts reading it.
    fn start_read(&mut self) -> Option<Bytes> {
        let rest = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
        let len = rest.min(self.max_piece);
        let mut piece = self.pieces.take();
        if let Some(read) = read_cached(&self.file, &mut piece.space()[..len], self.rest.start) {
            return Some(piece.into_bytes(read));
        }
        let file = Arc::clone(&self.file);
        let start = self.rest.start;
        self.running = Some(tokio::task::spawn_blocking(move || read_piece(&file, piece, len, start)));
        None
    }

    fn poll_running(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let Some(running) = &mut self.running else {
            return Poll::Pending;
        };
        let result = ready!(Pin::new(running).poll(context));
        self.running = None;
        Poll::Ready(result.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

impl Stream for FileStream {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.running.is_none() {
            if self.rest.is_empty() {
                return Poll::Ready(None);
            }
            if let Some(bytes) = self.start_read() {
                self.rest.start += bytes.len() as u64;
                return Poll::Ready(Some(Ok(bytes)));
            }
        }
        match ready!(self.poll_running(context)) {
            Ok(bytes) if !bytes.is_empty() => {
                self.rest.start += bytes.len() as u64;
                Poll::Ready(Some(Ok(bytes)))
            }
            failed => {
                let error = failed.map_or_else(StoreError::from, |_| too_short(self.rest.start));
                self.rest.start = self.rest.end;
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

/// Returns the error for a file that ends before its recorded size.
pub(super) fn too_short(end: u64) -> StoreError {
    StoreError::Damaged(format!("the file ended at byte {end} while it was read"))
}

/// Reads bytes from the page cache. Returns `None` if none are cached, for whatever reason: a read that may block finds
/// the reason.
pub(super) fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> Option<usize> {
    match rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
        Ok(0) | Err(_) => None,
        Ok(read) => Some(read),
    }
}

fn read_piece(file: &File, mut piece: Buffer, len: usize, offset: u64) -> io::Result<Bytes> {
    loop {
        match file.read_at(&mut piece.space()[..len], offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|read| piece.into_bytes(read)),
        }
    }
}
