//! A blob store wrapper that records failed syncs.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;

use super::failure::Failures;
use crate::errors::Context;
use crate::oci::{BlobKey, UploadId};
use crate::store::{BlobStore, ByteStream, Content, Listing, Space, StagedBytes, StoreError, StoredItem};

/// Wraps a blob store and records its failed syncs.
pub(super) struct FailureRecordingStore<S> {
    inner: S,
    failures: Arc<Failures>,
}

impl<S> FailureRecordingStore<S> {
    pub(super) fn new(inner: S, failures: Arc<Failures>) -> Self {
        Self { inner, failures }
    }
}

/// Records an I/O error, after which the disk's content is unknown. A full disk is no such error.
fn record_failure<T>(failures: &Failures, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
    if let Err(StoreError::Io(error)) = &outcome
        && Errno::from_io_error(error) == Some(Errno::IO)
    {
        failures.record(Context::new("blobs", io::Error::from(Errno::IO)));
    }
    outcome
}

#[async_trait]
impl<S: BlobStore> BlobStore for FailureRecordingStore<S> {
    async fn stage(&self, upload: UploadId, len: u64) -> Result<Arc<dyn StagedBytes>, StoreError> {
        let inner = self.inner.stage(upload, len).await?;
        Ok(Arc::new(FailureRecordingBytes { inner, failures: Arc::clone(&self.failures) }))
    }

    async fn publish(&self, upload: UploadId, key: &BlobKey) -> Result<u64, StoreError> {
        record_failure(&self.failures, self.inner.publish(upload, key).await)
    }

    async fn unpublish(&self, upload: UploadId, key: &BlobKey) -> Result<bool, StoreError> {
        record_failure(&self.failures, self.inner.unpublish(upload, key).await)
    }

    async fn discard(&self, upload: UploadId) -> Result<(), StoreError> {
        self.inner.discard(upload).await
    }

    async fn read(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Content, StoreError> {
        self.inner.read(key, size, range).await
    }

    async fn inspect(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.inner.inspect(key, size, range).await
    }

    async fn remove(&self, key: &BlobKey) -> Result<(), StoreError> {
        self.inner.remove(key).await
    }

    async fn space(&self) -> Result<Space, StoreError> {
        self.inner.space().await
    }

    async fn allocated(&self, of: StoredItem<'_>) -> Result<u64, StoreError> {
        self.inner.allocated(of).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        record_failure(&self.failures, self.inner.check().await)
    }

    async fn list(&self, from: Option<&str>) -> Result<Listing, StoreError> {
        self.inner.list(from).await
    }
}

/// Wraps the bytes of an upload and records failed syncs.
struct FailureRecordingBytes {
    inner: Arc<dyn StagedBytes>,
    failures: Arc<Failures>,
}

#[async_trait]
impl StagedBytes for FailureRecordingBytes {
    async fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        self.inner.write_at(offset, pieces).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        record_failure(&self.failures, self.inner.sync().await)
    }

    async fn read(&self, range: Range<u64>) -> Result<ByteStream, StoreError> {
        self.inner.read(range).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason_recorded_for(error: StoreError) -> Option<String> {
        let failures = Failures::default();
        record_failure::<()>(&failures, Err(error)).expect_err("passed on");
        failures.reason()
    }

    #[test]
    fn records_only_io_errors_of_the_disk() {
        assert_eq!(reason_recorded_for(StoreError::Full), None);
        assert_eq!(reason_recorded_for(StoreError::Io(std::io::Error::other("whatever"))), None);
        let broken = StoreError::Io(Errno::IO.into());
        assert_eq!(reason_recorded_for(broken).as_deref(), Some("blobs: Input/output error (os error 5)"));
    }
}
