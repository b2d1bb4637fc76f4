//! Receives the body of an upload: hashes it, writes it and records its progress.
//!
//! The bytes are received in the task of the request, because handing them to another task costs more than hashing
//! them. A client that disconnects drops that task at any await point. So offset, hash and writes agree at every await
//! point, and another task finishes writing what has been received.
//!
//! Bytes are written while more are being received. Short bodies are written as they arrived. Long ones are copied into
//! buffers that can be written around the page cache. The memory they arrived in is then free for the next bytes at
//! once, and still in the processor's cache.

use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;

use super::sessions::{OpenUpload, Owned};
use super::{ClientBody, ClientError, PIECE, Registry, Repository, Requester, ServiceError, UploadError};
use crate::errors::Context;
use crate::fair::Turn;
use crate::memory::{Holder, MemoryBudget, Purpose, Reservation};
use crate::metadata::Progress;
use crate::oci::{Algorithm, Hasher, UploadId};
use crate::store::{Buffer, Buffers, StagedBytes, StoreError};
use crate::traces;

/// After this many bytes they are synced and recorded: a crash costs an upload at most this many.
const RECORD_BYTES: u64 = 64 << 20;

/// After this time received bytes are synced and recorded, however few they are.
const RECORD_INTERVAL: Duration = Duration::from_secs(30);

/// How many bytes of budget are reserved beyond those received.
const RESERVE_AHEAD: u64 = 1 << 20;

/// A body that is being received into an upload.
struct Receiving {
    registry: Arc<Registry>,
    id: UploadId,
    work: Option<Work>,
}

struct Work {
    requester: Requester,
    owned: Owned,
    /// Held only while bytes arrive.
    writer: Option<BodyWriter>,
    /// The length of the chunk by its `Content-Range`.
    expected: Option<u64>,
    /// The offset and hash of the upload before the body.
    before: (u64, Hasher),
    /// The offset up to which budget is reserved.
    reserved: u64,
    /// Whether a byte quota applies to it.
    is_limited: bool,
}

impl Repository {
    /// Receives a body, which is the bytes of `range` if that is given, and returns the owned upload. Bytes received
    /// before an error are kept, unless the error is about the range.
    pub(super) async fn receive(
        &self,
        id: UploadId,
        range: Option<RangeInclusive<u64>>,
        body: ClientBody,
    ) -> Result<Owned, UploadError> {
        let this = self.clone();
        let mut receiving = detached(async move { this.start_receiving(id, range).await }).await?;
        let received = traces::start_step("upload body").run(receiving.pump(body)).await;
        let outcome = receiving.end(received).await;
        if matches!(outcome, Err(UploadError::Service(ServiceError::Full(_)))) {
            // Opening it again truncates it to the recorded offset: the database may need that disk space.
            let _ = self.upload_offset(id).await;
        }
        if matches!(outcome, Err(UploadError::Service(ServiceError::OverQuota(_)))) {
            // Nothing the client could send now would make it fit.
            let _ = self.cancel_upload(id).await;
        }
        outcome
    }

    async fn start_receiving(
        &self,
        id: UploadId,
        range: Option<RangeInclusive<u64>>,
    ) -> Result<Receiving, UploadError> {
        let registry = &self.registry;
        let mut owned = self.own(id).await?;
        let upload = self.open(id, &mut owned).await?;
        if range.as_ref().is_some_and(|range| *range.start() != upload.offset) {
            return Err(UploadError::OutOfOrder { offset: upload.offset });
        }
        let requester = self.requester();
        registry.admit_body(&requester).await?;
        registry.close_bytes_if_crowded(upload);
        let before = (upload.offset, upload.hasher.clone());
        let expected = range.map(|range| range.end() - range.start() + 1);
        let is_limited = registry.has_byte_quota(&self.name);
        let work = Work { requester, owned, writer: None, expected, before, reserved: 0, is_limited };
        Ok(Receiving { registry: Arc::clone(registry), id, work: Some(work) })
    }
}

impl Receiving {
    async fn pump(&mut self, body: ClientBody) -> Result<(), UploadError> {
        match &mut self.work {
            Some(work) => work.pump(&self.registry, self.id, body).await,
            None => Err(UploadError::Unknown),
        }
    }

    async fn end(mut self, received: Result<(), UploadError>) -> Result<Owned, UploadError> {
        let work = self.work.take().ok_or(UploadError::Unknown)?;
        let registry = Arc::clone(&self.registry);
        let id = self.id;
        detached(async move { work.end(&registry, id, received).await }).await
    }
}

impl Drop for Receiving {
    /// The client has disconnected: the bytes it sent are still written, so that it can continue from there.
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            let registry = Arc::clone(&self.registry);
            let id = self.id;
            tokio::spawn(async move { work.end(&registry, id, Err(ClientError::Disconnected.into())).await });
        }
    }
}

impl Work {
    async fn pump(
        &mut self,
        registry: &Registry,
        id: UploadId,
        mut body: ClientBody,
    ) -> Result<(), UploadError> {
        while let Some(piece) = self.next_piece(registry, id, &mut body).await? {
            let after = in_hand(&mut self.owned)?.offset + piece.len() as u64;
            self.check(registry, after)?;
            self.reserve_quota(registry, id, after).await?;
            self.reserve_space(registry, id, after).await?;
            self.start_writer(registry).await?;
            self.write(registry, id, piece).await?;
        }
        Ok(())
    }

    /// Returns the next piece of the body. If another client waits for the turn, the turn is given up before waiting
    /// for more bytes.
    async fn next_piece(
        &mut self,
        registry: &Registry,
        id: UploadId,
        body: &mut ClientBody,
    ) -> Result<Option<Bytes>, UploadError> {
        if self.writer.as_ref().is_some_and(BodyWriter::is_recalled) {
            self.stop_writer(registry, id).await?;
        }
        loop {
            tokio::select! {
                biased;
                () = self.owned.taken_over.cancelled() => return Err(UploadError::TakenOver),
                piece = body.next() => return Ok(piece.transpose()?),
                () = recalled(self.writer.as_ref().map(BodyWriter::turn)) => {}
            }
            self.stop_writer(registry, id).await?;
        }
    }

    /// Rejects a piece ending at byte `after` if that exceeds a limit.
    fn check(&self, registry: &Registry, after: u64) -> Result<(), UploadError> {
        let limit = registry.settings.max_blob_size;
        if after > limit {
            return Err(UploadError::TooLarge { limit });
        }
        if self.expected.is_some_and(|expected| after - self.before.0 > expected) {
            return Err(UploadError::WrongLength { offset: self.before.0 });
        }
        Ok(())
    }

    /// Reserves quota for the bytes up to `after`.
    async fn reserve_quota(
        &mut self,
        registry: &Registry,
        id: UploadId,
        after: u64,
    ) -> Result<(), UploadError> {
        if !self.is_limited || registry.reservations.covers(id, after) {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.owned.taken_over.cancelled() => Err(UploadError::TakenOver),
            granted = registry.grow_upload(id, &self.requester.repo, after) => Ok(granted?),
        }
    }

    /// Reserves budget for the bytes up to `after`. An upload that waits for it holds no turn.
    async fn reserve_space(
        &mut self,
        registry: &Registry,
        id: UploadId,
        after: u64,
    ) -> Result<(), UploadError> {
        if registry.settings.budget.is_none() || after <= self.reserved {
            return Ok(());
        }
        let upload = Some((id, after + RESERVE_AHEAD));
        if !registry.try_reserve(upload).await? {
            self.stop_writer(registry, id).await?;
            tokio::select! {
                biased;
                () = self.owned.taken_over.cancelled() => return Err(UploadError::TakenOver),
                reserved = registry.reserve(&self.requester, upload) => reserved?,
            }
        }
        self.reserved = after + RESERVE_AHEAD;
        Ok(())
    }

    /// Waits for a turn and for memory, unless the upload has them.
    async fn start_writer(&mut self, registry: &Registry) -> Result<(), UploadError> {
        if self.writer.is_some() {
            return Ok(());
        }
        let start = async {
            let max_wait = registry.settings.upload_queue;
            let turn = registry.sessions.turn(&self.requester.client, max_wait).await?;
            BodyWriter::start(turn, registry.memory()).await
        };
        let writer = tokio::select! {
            biased;
            () = self.owned.taken_over.cancelled() => return Err(UploadError::TakenOver),
            writer = start => writer?,
        };
        self.writer = Some(writer);
        Ok(())
    }

    /// Gives up the turn. Writes the gathered bytes first, so that no memory stays in use.
    async fn stop_writer(&mut self, registry: &Registry, id: UploadId) -> Result<(), UploadError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.flush().await?;
        self.writer = None;
        if registry.sessions.is_crowded() {
            // Other uploads need the file descriptors.
            let upload = in_hand(&mut self.owned)?;
            if upload.staged.is_some() {
                record_progress(registry, id, upload).await?;
                upload.staged = None;
            }
        }
        Ok(())
    }

    async fn write(&mut self, registry: &Registry, id: UploadId, piece: Bytes) -> Result<(), UploadError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let upload = in_hand(&mut self.owned)?;
        if !writer.is_open() {
            registry.open_bytes(id, upload).await?;
            writer.open(&registry.upload_buffers, Arc::clone(staged(upload)?), upload.offset);
        }
        upload.hasher.update(&piece);
        upload.offset += piece.len() as u64;
        if writer.push(piece).await? {
            if registry.settings.budget.is_none() {
                registry.ledger.set(id, upload.offset);
            }
            registry.admit_space().await?;
            self.record_if_due(registry, id).await?;
        }
        Ok(())
    }

    async fn record_if_due(&mut self, registry: &Registry, id: UploadId) -> Result<(), UploadError> {
        let upload = in_hand(&mut self.owned)?;
        let waited = registry.clock.elapsed().saturating_sub(upload.recorded_at);
        if upload.offset - upload.recorded < RECORD_BYTES && waited < RECORD_INTERVAL {
            return Ok(());
        }
        if let Some(writer) = &mut self.writer {
            writer.flush().await?;
        }
        record_progress(registry, id, upload).await
    }

    /// Finishes the writes. Afterwards offset, hash and bytes agree, or the slot is empty and the upload continues from
    /// its recorded progress.
    async fn end(
        mut self,
        registry: &Registry,
        id: UploadId,
        received: Result<(), UploadError>,
    ) -> Result<Owned, UploadError> {
        let written = match &mut self.writer {
            Some(writer) => writer.flush().await,
            None => Ok(()),
        };
        if let Some(upload) = self.owned.slot.as_ref() {
            registry.ledger.set(id, upload.offset);
            registry.reservations.set(id, &upload.repo, upload.offset);
        }
        let outcome = match (received, written) {
            // The error of the first failed write says more than the error that a later write could not start.
            (Err(UploadError::Service(first)), _) => Err(first.into()),
            (_, Err(error)) => Err(error.into()),
            (Ok(()), Ok(())) => self.check_length(),
            (Err(error), Ok(())) => Err(error),
        };
        match outcome {
            Err(UploadError::WrongLength { .. }) => self.undo(registry, id).await?,
            // The piece that got no turn or memory was never received, and everything before it is written.
            Err(UploadError::Service(ServiceError::Busy | ServiceError::OutOfMemory(_))) => {}
            // Which of the last bytes reached the disk is unknown.
            Err(UploadError::Service(_)) => *self.owned.slot = None,
            Ok(()) | Err(_) => {}
        }
        if outcome.is_err() {
            registry.close_interrupted(id, &mut self.owned.slot).await;
        }
        outcome.map(|()| self.owned)
    }

    fn check_length(&mut self) -> Result<(), UploadError> {
        let offset = self.before.0;
        let came = in_hand(&mut self.owned)?.offset - offset;
        if self.expected.is_some_and(|expected| came != expected) {
            return Err(UploadError::WrongLength { offset });
        }
        Ok(())
    }

    /// Undoes a chunk whose length was wrong. Opening the bytes again truncates them.
    async fn undo(&mut self, registry: &Registry, id: UploadId) -> Result<(), UploadError> {
        let upload = in_hand(&mut self.owned)?;
        upload.staged = None;
        (upload.offset, upload.hasher) = self.before.clone();
        if upload.recorded > upload.offset {
            let progress = Progress { offset: upload.offset, hash_state: upload.hasher.save() };
            registry.metadata.record_progress(id, progress, registry.clock.now()).await?;
            upload.recorded = upload.offset;
        }
        Ok(())
    }
}

/// Returns when another client waits for the turn, and never without a turn.
async fn recalled(turn: Option<&Turn>) {
    match turn {
        Some(turn) => turn.recalled().await,
        None => std::future::pending().await,
    }
}

fn in_hand(owned: &mut Owned) -> Result<&mut OpenUpload, UploadError> {
    owned.slot.as_mut().ok_or(UploadError::Unknown)
}

/// Makes all bytes of an upload durable and records its progress.
pub(super) async fn record_progress(
    registry: &Registry,
    id: UploadId,
    upload: &mut OpenUpload,
) -> Result<(), UploadError> {
    if upload.recorded == upload.offset {
        return Ok(());
    }
    if let Err(error) = traces::start_step("store sync").run(staged(upload)?.sync()).await {
        // What a failed sync left on the disk is unknown, so the upload must not continue from any of it.
        let nothing = Progress { offset: 0, hash_state: Vec::new() };
        registry.metadata.record_progress(id, nothing, registry.clock.now()).await?;
        registry.discard(id).await?;
        return Err(error.into());
    }
    let progress = Progress { offset: upload.offset, hash_state: upload.hasher.save() };
    if !registry.metadata.record_progress(id, progress, registry.clock.now()).await? {
        return Err(UploadError::Unknown);
    }
    upload.recorded = upload.offset;
    upload.recorded_at = registry.clock.elapsed();
    Ok(())
}

/// Hashes the bytes of an upload with another algorithm than it was started with.
pub(super) async fn rehash(upload: &OpenUpload, algorithm: Algorithm) -> Result<Hasher, UploadError> {
    let mut hasher = Hasher::new(algorithm);
    let mut bytes = staged(upload)?.read(0..upload.offset).await?;
    while let Some(piece) = bytes.next().await.transpose()? {
        hasher.update(&piece);
    }
    Ok(hasher)
}

fn staged(upload: &OpenUpload) -> Result<&Arc<dyn StagedBytes>, ServiceError> {
    upload.staged.as_ref().ok_or_else(|| ServiceError::Failed("the bytes of the upload are not open".into()))
}

/// Runs `work` to its end even if the client disconnects, so that nothing is left half done.
pub(super) async fn detached<T, F>(work: F) -> Result<T, UploadError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, UploadError>> + Send + 'static,
{
    let ended = tokio::spawn(traces::current().run(work)).await;
    ended
        .map_err(|error| ServiceError::Failed(Context::new("the task of the upload failed", error).into()))?
}

/// The resources an upload holds while bytes arrive: a turn, memory and its writes.
struct BodyWriter {
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
    async fn start(turn: Turn, budget: &MemoryBudget) -> Result<Self, ServiceError> {
        let memory = reserve(budget).await?;
        Ok(Self { turn, memory, budget: budget.clone(), writes: None })
    }

    /// Returns whether the writes have been opened.
    fn is_open(&self) -> bool {
        self.writes.is_some()
    }

    /// Opens the writes at the end of `staged`, at byte `offset`.
    fn open(&mut self, buffers: &Arc<Buffers>, staged: Arc<dyn StagedBytes>, offset: u64) {
        let mut writes = Writes::new(staged, Arc::clone(buffers), offset);
        if self.memory.bytes() < MAX_WIDE {
            writes.narrow();
        }
        self.writes = Some(writes);
    }

    /// Adds a piece. Returns whether that started a write. When memory is scarce, writes become narrow.
    async fn push(&mut self, piece: Bytes) -> Result<bool, StoreError> {
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
    async fn flush(&mut self) -> Result<(), StoreError> {
        match &mut self.writes {
            Some(writes) => writes.flush().await,
            None => Ok(()),
        }
    }

    /// Returns whether another client waits for the turn.
    fn is_recalled(&self) -> bool {
        self.turn.is_recalled()
    }

    fn turn(&self) -> &Turn {
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
