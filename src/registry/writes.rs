//! Writing beside receiving.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};

use crate::store::{StagedBytes, StoreError};

/// How many bytes are gathered before they are written. Writes end at multiples of this, where every medium
/// likes the next to begin.
const PIECE: usize = 1 << 20;

/// Pieces shorter than this are copied together. Each would keep a buffer of its connection's alive that may
/// be a thousand times as long: a client that drips bytes would fill the memory with next to nothing.
const SHORT: usize = 16 << 10;

/// Writes gathered pieces while the next are being received: at most one write at a time.
pub(super) struct Writes {
    staged: Arc<dyn StagedBytes>,
    offset: u64,
    gathered: Vec<Bytes>,
    /// Short pieces that come behind those.
    short: BytesMut,
    len: usize,
    running: Option<RunningWrite>,
}

/// A write that has begun. It goes on whether or not it is polled; awaiting it tells its outcome.
type RunningWrite = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

impl Writes {
    pub(super) fn new(staged: Arc<dyn StagedBytes>, offset: u64) -> Self {
        Self { staged, offset, gathered: Vec::new(), short: BytesMut::new(), len: 0, running: None }
    }

    /// Takes a piece. `true` if that began a write.
    pub(super) async fn push(&mut self, piece: Bytes) -> Result<bool, StoreError> {
        self.gather(piece);
        if self.len < PIECE {
            return Ok(false);
        }
        self.wait().await?;
        let (offset, pieces) = self.next_aligned();
        let staged = Arc::clone(&self.staged);
        let mut write: RunningWrite = Box::pin(async move { staged.write_at(offset, pieces).await });
        // The first poll hands the bytes to a thread that may wait for the disk.
        match poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
            Poll::Ready(written) => written?,
            Poll::Pending => self.running = Some(write),
        }
        Ok(true)
    }

    /// Returns when all that was pushed is written.
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        self.wait().await?;
        if self.len == 0 {
            return Ok(());
        }
        let (offset, pieces) = self.take(self.len);
        self.staged.write_at(offset, pieces).await
    }

    fn gather(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < SHORT {
            self.short.extend_from_slice(&piece);
        } else {
            self.seal();
            self.gathered.push(piece);
        }
    }

    /// Makes one piece of the short ones.
    fn seal(&mut self) {
        if !self.short.is_empty() {
            self.gathered.push(std::mem::take(&mut self.short).freeze());
        }
    }

    /// What reaches up to the last multiple of a piece.
    fn next_aligned(&mut self) -> (u64, Vec<Bytes>) {
        let behind = (self.offset + self.len as u64) % PIECE as u64;
        let behind = usize::try_from(behind).unwrap_or(0);
        self.take(self.len - behind)
    }

    /// The first `len` bytes of what is gathered.
    fn take(&mut self, len: usize) -> (u64, Vec<Bytes>) {
        self.seal();
        let offset = self.offset;
        self.offset += len as u64;
        let rest = self.split_off(len);
        self.len -= len;
        (offset, std::mem::replace(&mut self.gathered, rest))
    }

    /// Leaves the first `len` bytes of what is gathered, and gives the others.
    fn split_off(&mut self, mut len: usize) -> Vec<Bytes> {
        for (index, piece) in self.gathered.iter_mut().enumerate() {
            if len <= piece.len() {
                let mut rest = vec![piece.split_off(len)];
                rest.extend(self.gathered.drain(index + 1..));
                rest.retain(|piece| !piece.is_empty());
                return rest;
            }
            len -= piece.len();
        }
        Vec::new()
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
        let mut writes = Writes::new(Arc::clone(&staged), 1000);
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
    async fn what_drips_in_is_one_piece_and_stays_in_order() {
        let staged = MemoryStore::new().stage(UploadId::random(), 0).await.expect("staged");
        let mut writes = Writes::new(Arc::clone(&staged), 0);
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
