//! The staged bytes of an upload, with injected faults. A failure closes the handle, as on a real medium.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Faults, Operation};
use crate::faults::Injected as _;
use crate::store::upload_locks::{HandleLock, UploadGuard, closed};
use crate::store::{ByteStream, StagedBytes, StoreError};

pub(super) struct Handle {
    pub(super) inner: Arc<dyn StagedBytes>,
    pub(super) faults: Faults,
    pub(super) lock: HandleLock<()>,
}

#[async_trait]
impl StagedBytes for Handle {
    async fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        let guard = self.lock.acquire().await?;
        let inner = Arc::clone(&self.inner);
        let faults = self.faults.clone();
        // In a separate task, so that a stalled write continues when its caller is gone.
        let write = tokio::spawn(async move {
            let result = write(&*inner, &faults, offset, pieces).await;
            finish(guard, result)
        });
        write.await.unwrap_or_else(|error| Err(StoreError::Io(io::Error::other(error))))
    }

    async fn sync(&self) -> Result<(), StoreError> {
        let guard = self.lock.acquire().await?;
        let result = self.faults.apply(Operation::Sync, self.inner.sync()).await;
        finish(guard, result)
    }

    async fn read(&self, range: Range<u64>) -> Result<ByteStream, StoreError> {
        let _guard = self.lock.acquire().await?;
        if self.faults.is_down() {
            return Err(StoreError::down());
        }
        self.inner.read(range).await
    }
}

async fn write(
    inner: &dyn StagedBytes,
    faults: &Faults,
    offset: u64,
    pieces: Vec<Bytes>,
) -> Result<(), StoreError> {
    let half = inner.write_at(offset, first_half(pieces.clone()));
    faults.apply_torn(Operation::Write, inner.write_at(offset, pieces), half).await
}

fn first_half(mut pieces: Vec<Bytes>) -> Vec<Bytes> {
    let mut left = pieces.iter().map(Bytes::len).sum::<usize>() / 2;
    for piece in &mut pieces {
        piece.truncate(left);
        left -= piece.len();
    }
    pieces
}

fn finish(mut guard: UploadGuard<()>, result: Result<(), StoreError>) -> Result<(), StoreError> {
    if result.is_err() {
        guard.close(closed::FAILED);
    }
    result
}
