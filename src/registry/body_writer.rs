//! The resources an upload holds while bytes arrive: a turn, memory and its writes.
//!
//! Bytes are written while more are being received. Short bodies are written as they arrived. Long ones are copied into
//! buffers that can be written around the page cache. The memory they arrived in is then free for the next bytes at
//! once, and still in the processor's cache.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};

use super::ServiceError;
use crate::fair::Turn;
use crate::memory::{Holder, MemoryBudget, Purpose, Reservation};
use crate::store::{Buffer, Buffers, StagedBytes, StoreError};

/// A body that is being written to the store.
pub(super) struct BodyWriter {
    turn: Turn,
    memory: Reservation,
    budget: MemoryBudget,
    writes: Option<Writes>,
}

impl BodyWriter {
    /// Waits for memory.
    ///
    /// # Errors
    /// [`ServiceError::OutOfMemory`] if there is no memory in time.
    pub(super) async fn start(turn: Turn, budget: &MemoryBudget) -> Result<Self, ServiceError> {
        let memory = reserve(budget).await?;
        Ok(Self { turn, memory, budget: budget.clone(), writes: None })
    }

    /// Returns whether the writes have been opened.
    pub(super) fn is_open(&self) -> bool {
        self.writes.is_some()
    }

    /// Opens the writes at the end of `staged`, at byte `offset`.
    pub(super) fn open(&mut self, buffers: &Arc<Buffers>, staged: Arc<dyn StagedBytes>, offset: u64) {
        let mut writes = Writes::new(staged, Arc::clone(buffers), offset);
        if self.memory.bytes() < MAX_WIDE {
            writes.narrow();
        }
        self.writes = Some(writes);
    }

    /// Adds a piece. Returns whether that started a write. When memory is scarce, writes become narrow.
    pub(super) async fn push(&mut self, piece: Bytes) -> Result<bool, StoreError> {
        let Some(writes) = &mut self.writes else { return Ok(false) };
        if !writes.is_narrow() && self.budget.is_contended(Holder::Authenticated) {
            writes.flush().await?;
            writes.narrow();
            self.memory.shrink_to(MAX_NARROW);
        }
        let len = piece.len();
        let started = writes.push(piece).await;
        self.turn.record_progress(len);
        started
    }

    /// Writes everything that was pushed.
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        match &mut self.writes {
            Some(writes) => writes.flush().await,
            None => Ok(()),
        }
    }

    /// Returns whether another client waits for the turn.
    pub(super) fn is_recalled(&self) -> bool {
        self.turn.is_recalled()
    }

    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }
}

/// Reserves memory: enough for wide writes ([`MAX_WIDE`]) while less than half of the memory is used,
/// otherwise enough for narrow ones ([`MAX_NARROW`]). So uploads leave the rest to other requests.
async fn reserve(budget: &MemoryBudget) -> Result<Reservation, ServiceError> {
    let holder = Holder::Authenticated;
    if !budget.is_half_used(holder)
        && let Some(memory) = budget.try_reserve(holder, Purpose::Bodies, MAX_WIDE)
    {
        return Ok(memory);
    }
    Ok(budget.reserve(holder, Purpose::Bodies, MAX_NARROW).await?)
}

/// How many bytes are gathered before a write. Writes end at multiples of this, an alignment that suits every medium.
pub(super) const PIECE: usize = 1 << 20;

/// From this many bytes on they are gathered in a buffer.
const BUFFER_THRESHOLD: usize = 256 << 10;

/// How many bytes are gathered before a narrow write starts.
const NARROW_PIECE: usize = 64 << 10;

/// The maximum number of bytes held by writes: a buffer being written, one being filled, and the bytes before them.
const MAX_WIDE: usize = 2 * PIECE + BUFFER_THRESHOLD;

/// The maximum number of bytes held by narrow writes.
const MAX_NARROW: usize = NARROW_PIECE;

/// Pieces shorter than this are copied together. Each would keep a buffer of its connection alive that may be a
/// thousand times as long: a client that sends single bytes would fill the memory with next to nothing.
const SHORT_PIECE: usize = 16 << 10;

/// Writes gathered bytes while more are received; at most one write runs at a time. If the future of a call is dropped,
/// all pushed bytes are still written by the next one.
struct Writes {
    staged: Arc<dyn StagedBytes>,
    buffers: Arc<Buffers>,
    /// Where in the file the next write begins.
    offset: u64,
    /// The start of the next write, and how many bytes that is.
    buffer: Option<(Buffer, usize)>,
    /// The bytes after the buffer.
    gathered: Vec<Bytes>,
    /// The short pieces after those.
    short: BytesMut,
    /// How many bytes these three fields hold.
    len: usize,
    is_long: bool,
    is_narrow: bool,
    running: Option<RunningWrite>,
}

/// A write that has started. It continues whether or not it is polled; awaiting it returns its outcome.
type RunningWrite = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

impl Writes {
    /// Creates writes to `staged` from `offset` on. The `buffers` have [`PIECE`] bytes each.
    fn new(staged: Arc<dyn StagedBytes>, buffers: Arc<Buffers>, offset: u64) -> Self {
        Self {
            staged,
            buffers,
            offset,
            buffer: None,
            gathered: Vec::new(),
            short: BytesMut::new(),
            len: 0,
            is_long: false,
            is_narrow: false,
            running: None,
        }
    }

    /// Uses little memory and no buffers from now on. Call this only when everything is written.
    fn narrow(&mut self) {
        self.is_narrow = true;
        self.is_long = false;
    }

    /// Returns whether it uses little memory.
    fn is_narrow(&self) -> bool {
        self.is_narrow
    }

    /// Adds a piece. Returns whether that started a write.
    async fn push(&mut self, piece: Bytes) -> Result<bool, StoreError> {
        self.gather(piece);
        let mut started = false;
        while self.is_full() {
            self.start_write().await?;
            started = true;
        }
        Ok(started)
    }

    /// Writes everything that was pushed.
    async fn flush(&mut self) -> Result<(), StoreError> {
        while self.len > 0 {
            self.start_write().await?;
        }
        self.wait().await
    }

    fn gather(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < SHORT_PIECE && !self.is_long {
            self.short.extend_from_slice(&piece);
        } else {
            self.seal();
            self.gathered.push(piece);
        }
        self.is_long |= !self.is_narrow && self.len >= BUFFER_THRESHOLD.min(self.max_write());
        if self.is_long {
            self.fill();
        }
    }

    /// Combines the short pieces into one.
    fn seal(&mut self) {
        if !self.short.is_empty() {
            self.gathered.push(std::mem::take(&mut self.short).freeze());
        }
    }

    /// Returns the maximum size of the next write.
    fn max_write(&self) -> usize {
        PIECE - usize::try_from(self.offset % PIECE as u64).unwrap_or(0)
    }

    fn is_full(&self) -> bool {
        match &self.buffer {
            Some((_, filled)) => *filled == self.max_write(),
            None => self.is_narrow && self.len >= NARROW_PIECE,
        }
    }

    /// Copies as many of the other bytes into the buffer as fit.
    fn fill(&mut self) {
        self.seal();
        let room = self.max_write();
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

    /// Starts writing the buffer or, without one, all gathered bytes.
    async fn start_write(&mut self) -> Result<(), StoreError> {
        self.wait().await?;
        let (offset, pieces) = self.take();
        let staged = Arc::clone(&self.staged);
        let mut write: RunningWrite = Box::pin(async move { staged.write_at(offset, pieces).await });
        // The first poll hands the bytes to a thread that may block on the disk.
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
        // Cleared only now: this future may be dropped while it waits, and the next call must wait again.
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
    async fn writes_end_at_multiples_of_a_piece() {
        let staged = MemoryStore::new().stage(UploadId::random(), 0).await.expect("staged");
        #[expect(clippy::cast_possible_truncation, reason = "a remainder below 251")]
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
        #[expect(clippy::cast_possible_truncation, reason = "a remainder below 251")]
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
    async fn short_pieces_are_combined_in_order() {
        let staged = MemoryStore::new().stage(UploadId::random(), 0).await.expect("staged");
        let mut writes = Writes::new(Arc::clone(&staged), Buffers::new(PIECE, 2), 0);
        let long = Bytes::from(vec![b'x'; SHORT_PIECE]);
        for byte in b"0123456789" {
            writes.push(Bytes::copy_from_slice(&[*byte])).await.expect("gathered");
        }
        assert!(writes.gathered.is_empty());
        writes.push(long).await.expect("gathered");
        writes.push(Bytes::from_static(b"end")).await.expect("gathered");
        assert_eq!(writes.gathered.len(), 2);
        writes.flush().await.expect("written");
        let len = 13 + SHORT_PIECE as u64;
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
