//! Writing beside receiving.
//!
//! What is short is written as it came. What is long is copied into a buffer that can be written past the page
//! cache: the memory that it came in is free for the next bytes at once then, and still in the processor's
//! cache.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};

use crate::store::{Buffer, Buffers, StagedBytes, StoreError};

/// How many bytes are gathered before they are written. Writes end at multiples of this, where every medium
/// likes the next to begin.
pub(super) const PIECE: usize = 1 << 20;

/// From how many bytes on they are gathered in a buffer.
const LONG: usize = 256 << 10;

/// From how many bytes on narrow writes begin.
const NARROW: usize = 64 << 10;

/// The most bytes that writes hold: a buffer that is written, one that is filled, and what came before them.
pub(super) const MAX_WIDE: usize = 2 * PIECE + LONG;

/// The most bytes that narrow writes hold.
pub(super) const MAX_NARROW: usize = NARROW;

/// Pieces shorter than this are copied together. Each would keep a buffer of its connection's alive that may
/// be a thousand times as long: a client that drips bytes would fill the memory with next to nothing.
const SHORT: usize = 16 << 10;

/// Writes what is gathered while more is being received: at most one write at a time. Wherever a call is
/// dropped, all that was pushed is still on its way.
pub(super) struct Writes {
    staged: Arc<dyn StagedBytes>,
    buffers: Arc<Buffers>,
    /// Where in the file the next write begins.
    offset: u64,
    /// What it begins with, and how many bytes that is.
    buffer: Option<(Buffer, usize)>,
    /// What comes behind the buffer,
    gathered: Vec<Bytes>,
    /// and behind that.
    short: BytesMut,
    /// How many bytes these three have.
    len: usize,
    is_long: bool,
    is_narrow: bool,
    running: Option<RunningWrite>,
}

/// A write that has begun. It goes on whether or not it is polled; awaiting it tells its outcome.
type RunningWrite = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

impl Writes {
    /// Writes to `staged`, from `offset` on. `buffers` have [`PIECE`] bytes each.
    pub(super) fn new(staged: Arc<dyn StagedBytes>, buffers: Arc<Buffers>, offset: u64) -> Self {
        let (gathered, short) = (Vec::new(), BytesMut::new());
        Self {
            staged,
            buffers,
            offset,
            buffer: None,
            gathered,
            short,
            len: 0,
            is_long: false,
            is_narrow: false,
            running: None,
        }
    }

    /// Uses little memory from now on, and no buffers. To be called when all is written.
    pub(super) fn narrow(&mut self) {
        self.is_narrow = true;
        self.is_long = false;
    }

    /// Whether it uses little memory.
    pub(super) fn is_narrow(&self) -> bool {
        self.is_narrow
    }

    /// Takes a piece. `true` if that began a write.
    pub(super) async fn push(&mut self, piece: Bytes) -> Result<bool, StoreError> {
        self.gather(piece);
        let mut began = false;
        while self.is_full() {
            self.begin().await?;
            began = true;
        }
        Ok(began)
    }

    /// Returns when all that was pushed is written.
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        while self.len > 0 {
            self.begin().await?;
        }
        self.wait().await
    }

    fn gather(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < SHORT && !self.is_long {
            self.short.extend_from_slice(&piece);
        } else {
            self.seal();
            self.gathered.push(piece);
        }
        self.is_long |= !self.is_narrow && self.len >= LONG.min(self.room());
        if self.is_long {
            self.fill();
        }
    }

    /// Makes one piece of the short ones.
    fn seal(&mut self) {
        if !self.short.is_empty() {
            self.gathered.push(std::mem::take(&mut self.short).freeze());
        }
    }

    /// How many bytes the next write has at most.
    fn room(&self) -> usize {
        PIECE - usize::try_from(self.offset % PIECE as u64).unwrap_or(0)
    }

    fn is_full(&self) -> bool {
        match &self.buffer {
            Some((_, filled)) => *filled == self.room(),
            None => self.is_narrow && self.len >= NARROW,
        }
    }

    /// Copies into the buffer what fits of the rest.
    fn fill(&mut self) {
        self.seal();
        let room = self.room();
        let (buffer, filled) = self.buffer.get_or_insert_with(|| (self.buffers.take(), 0));
        let mut emptied = 0;
        for piece in &mut self.gathered {
            let count = piece.len().min(room - *filled);
            buffer.space()[*filled..*filled + count].copy_from_slice(&piece[..count]);
            piece.advance(count);
            *filled += count;
            if !piece.is_empty() {
                break;
            }
            emptied += 1;
        }
        self.gathered.drain(..emptied);
    }

    /// Begins to write the buffer or, without one, all the rest.
    async fn begin(&mut self) -> Result<(), StoreError> {
        self.wait().await?;
        let (offset, pieces) = self.take();
        let staged = Arc::clone(&self.staged);
        let mut write: RunningWrite = Box::pin(async move { staged.write_at(offset, pieces).await });
        // The first poll hands the bytes to a thread that may wait for the disk.
        match poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
            Poll::Ready(written) => written,
            Poll::Pending => {
                self.running = Some(write);
                Ok(())
            }
        }
    }

    fn take(&mut self) -> (u64, Vec<Bytes>) {
        let offset = self.offset;
        let (pieces, len) = match self.buffer.take() {
            Some((buffer, filled)) => (vec![buffer.into_bytes(filled)], filled),
            None => {
                self.seal();
                (std::mem::take(&mut self.gathered), self.len)
            }
        };
        self.offset += len as u64;
        self.len -= len;
        if self.len > 0 {
            self.fill();
        }
        (offset, pieces)
    }

    async fn wait(&mut self) -> Result<(), StoreError> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        // Only then is it forgotten: whoever waits here may be dropped, and another waits again.
        let written = running.await;
        self.running = None;
        written
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::oci::UploadId;
    use crate::store::{BlobStore, MemoryStore};

    #[tokio::test]
    async fn writes_end_at_multiples_of_a_piece_wherever_they_began() {
        let staged = MemoryStore::new().stage(UploadId::random(), 0).await.expect("staged");
        let all: Vec<u8> = (0..PIECE * 5 / 2).map(|at| (at % 251) as u8).collect();
        staged.write_at(0, vec![Bytes::copy_from_slice(&all[..1000])]).await.expect("written");
        let mut writes = Writes::new(Arc::clone(&staged), Buffers::new(PIECE, 2), 1000);
        let mut ends = Vec::new();
        for piece in all[1000..].chunks(99_991) {
            if writes.push(Bytes::copy_from_slice(piece)).await.expect("taken") {
                ends.push(writes.offset);
            }
        }
        assert_eq!(ends, [PIECE as u64, 2 * PIECE as u64]);
        writes.flush().await.expect("written");
        let read: Vec<_> = staged.read(0..all.len() as u64).await.expect("readable").collect().await;
        let read: Vec<Bytes> = read.into_iter().collect::<Result<_, _>>().expect("sound");
        assert!(read.concat() == all);
    }

    #[tokio::test]
    async fn narrow_writes_hold_little_and_no_buffer() {
        let staged = MemoryStore::new().stage(UploadId::random(), 0).await.expect("staged");
        let mut writes = Writes::new(Arc::clone(&staged), Buffers::new(PIECE, 2), 0);
        let all: Vec<u8> = (0..PIECE * 3).map(|at| (at % 251) as u8).collect();
        let (wide, narrow) = all.split_at(PIECE * 3 / 2);
        for piece in wide.chunks(40_000) {
            writes.push(Bytes::copy_from_slice(piece)).await.expect("taken");
        }
        writes.flush().await.expect("written");
        writes.narrow();
        for piece in narrow.chunks(10_000) {
            writes.push(Bytes::copy_from_slice(piece)).await.expect("taken");
            assert!(writes.len < MAX_NARROW && writes.buffer.is_none());
        }
        writes.flush().await.expect("written");
        let read: Vec<_> = staged.read(0..all.len() as u64).await.expect("readable").collect().await;
        let read: Vec<Bytes> = read.into_iter().collect::<Result<_, _>>().expect("sound");
        assert!(read.concat() == all);
    }

    #[tokio::test]
    async fn what_drips_in_is_one_piece_and_stays_in_order() {
        let staged = MemoryStore::new().stage(UploadId::random(), 0).await.expect("staged");
        let mut writes = Writes::new(Arc::clone(&staged), Buffers::new(PIECE, 2), 0);
        let long = Bytes::from(vec![b'x'; SHORT]);
        for byte in b"0123456789" {
            writes.push(Bytes::copy_from_slice(&[*byte])).await.expect("gathered");
        }
        assert!(writes.gathered.is_empty());
        writes.push(long).await.expect("gathered");
        writes.push(Bytes::from_static(b"end")).await.expect("gathered");
        assert_eq!(writes.gathered.len(), 2);
        writes.flush().await.expect("written");
        let len = 13 + SHORT as u64;
        let mut read = staged.read(0..len).await.expect("readable");
        let mut all = Vec::new();
        while let Some(piece) = read.next().await {
            all.extend_from_slice(&piece.expect("a piece"));
        }
        assert_eq!(
            (all.len() as u64, &all[..10], &all[all.len() - 3..]),
            (len, &b"0123456789"[..], &b"end"[..])
        );
    }
}
