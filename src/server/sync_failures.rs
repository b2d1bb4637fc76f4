//! Handling of failed syncs, which a wrapper of the blob store records. After one, the content of the disk is unknown.
//!
//! The writer discards what it was writing and never syncs it again. The server becomes unready at once. As soon as a
//! new write becomes durable, the server stops with an error, so that its supervisor restarts it on the data that is
//! proven to be on the disk. While the disk stays broken a restart would not help, so the server keeps serving reads.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::sync::Notify;

use crate::errors::{BoxError, Chain, Context, SharedError};
use crate::oci::{BlobKey, UploadId};
use crate::store::{
    AdoptError, AdoptedFile, Adoption, BlobStore, ByteStream, Content, ExportMethod, Listing, Space,
    StagedBytes, StoreError, StoredItem, durable,
};

/// How often a broken disk is probed.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The first sync that failed, if one did.
#[derive(Debug, Default)]
pub struct Failures {
    first: Mutex<Option<SharedError>>,
    recorded: Notify,
}

impl Failures {
    /// Records the error of a failed sync. Only the first is kept.
    pub fn record(&self, error: impl Into<BoxError>) {
        let mut first = self.first.lock();
        if first.is_none() {
            let error = error.into();
            let reason = Chain(&*error);
            tracing::error!(%reason, "a write did not become durable; the server needs a restart");
            *first = Some(error.into());
            self.recorded.notify_one();
        }
    }

    /// Returns the error because of which the server needs a restart, if there is one.
    pub(super) fn first(&self) -> Option<SharedError> {
        self.first.lock().clone()
    }

    /// Returns why the server needs a restart, if it does.
    pub fn reason(&self) -> Option<String> {
        self.first().map(|error| Chain(&*error).to_string())
    }

    /// Waits until a sync has failed and the disk works again, so that a restart helps.
    pub(super) async fn wait_until_restart_is_due(&self, blobs: &dyn BlobStore, metadata_dir: &Path) {
        self.recorded.notified().await;
        while let Err(error) = probe_stores(blobs, metadata_dir).await {
            tracing::error!(error = %Chain(&*error), "the disk is still broken; pulls are served where possible");
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }
}

/// Checks that new writes become durable on the disks of the blobs and of the metadata.
async fn probe_stores(blobs: &dyn BlobStore, metadata_dir: &Path) -> Result<(), BoxError> {
    blobs.check().await?;
    let probe = metadata_dir.join("probe");
    Ok(tokio::task::spawn_blocking(move || durable::probe(&probe)).await??)
}

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

    async fn export(
        &self,
        key: &BlobKey,
        size: u64,
        to: &Path,
        method: ExportMethod,
    ) -> Result<ExportMethod, StoreError> {
        self.inner.export(key, size, to, method).await
    }

    async fn adopt(&self, from: &Path, key: &BlobKey, how: Adoption) -> Result<AdoptedFile, AdoptError> {
        self.inner.adopt(from, key, how).await
    }

    async fn sync_adopted(&self, keys: &[BlobKey]) -> Result<(), StoreError> {
        record_failure(&self.failures, self.inner.sync_adopted(keys).await)
    }

    async fn links(&self, key: &BlobKey) -> Result<u64, StoreError> {
        self.inner.links(key).await
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
    use crate::config::Config;
    use crate::server::{OpenMode, Opened};

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

    #[tokio::test]
    async fn restart_is_due_once_the_disk_works() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.storage.data = dir.path().join("data");
        let opened = Opened::open(&config, OpenMode::Serve).await.expect("opened");
        opened.failures.record("first");
        opened.failures.record("second");
        assert_eq!(opened.failures.reason().as_deref(), Some("first"));
        opened.failures.wait_until_restart_is_due(&**opened.registry.blobs(), &opened.metadata_dir).await;
        assert!(!config.metadata_dir().join("probe").exists());
    }
}
