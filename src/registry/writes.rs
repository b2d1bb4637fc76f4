//! Writing beside receiving.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use crate::store::{StagedBytes, StoreError};

/// How many bytes are gathered before they are written.
const PIECE: usize = 1 << 20;

/// Writes gathered pieces while the next are being received: at most one write at a time.
pub(super) struct Writes {
    staged: Arc<dyn StagedBytes>,
    offset: u64,
    gathered: Vec<Bytes>,
    len: usize,
    running: Option<RunningWrite>,
}

/// A write that has begun. It goes on whether or not it is polled; awaiting it tells its outcome.
type RunningWrite = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

impl Writes {
    pub(super) fn new(staged: Arc<dyn StagedBytes>, offset: u64) -> Self {
        Self { staged, offset, gathered: Vec::new(), len: 0, running: None }
    }

    /// Takes a piece. `true` if that began a write.
    pub(super) async fn push(&mut self, piece: Bytes) -> Result<bool, StoreError> {
        self.len += piece.len();
        self.gathered.push(piece);
        if self.len < PIECE {
            return Ok(false);
        }
        self.wait().await?;
        let (offset, pieces) = self.next();
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
        if self.gathered.is_empty() {
            return Ok(());
        }
        let (offset, pieces) = self.next();
        self.staged.write_at(offset, pieces).await
    }

    fn next(&mut self) -> (u64, Vec<Bytes>) {
        let offset = self.offset;
        self.offset += self.len as u64;
        self.len = 0;
        (offset, std::mem::take(&mut self.gathered))
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
