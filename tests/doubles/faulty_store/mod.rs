//! A blob store that injects faults, for tests.
//!
//! ```
//! # use orlop::store::{BlobStore, MemoryStore};
//! # use orlop::store::faulty::{Failure, Fault, Faulty, Faults, Operation};
//! let memory = MemoryStore::new();
//! let faults = Faults::new();
//! let store = Faulty::new(memory.clone(), faults.clone());
//! faults.inject_next(Operation::Publish, Fault::FailAfter(Failure::Io));
//! faults.inject_nth(7, Fault::Crash);
//! faults.on_crash(move || memory.power_cut());
//! ```

mod operation;
mod staged;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;

use super::upload_locks::{self, UploadLocks};
use super::{
    AdoptError, AdoptedFile, Adoption, BlobStore, Content, ExportMethod, Listing, Space, StagedBytes,
    StoreError, StoredItem,
};
use crate::faults::Injected;
use crate::oci::{BlobKey, UploadId};

pub use crate::faults::{Failure, Fault};
pub use operation::Operation;

/// Controls the faults of a [`Faulty`] store.
pub type Faults = crate::faults::Faults<Operation>;

/// A store that behaves like `S`, except for the faults that [`Faults`] injects.
pub struct Faulty<S> {
    inner: S,
    faults: Faults,
    locks: UploadLocks<()>,
}

impl<S> Faulty<S> {
    /// Wraps a store, so that `faults` can inject faults into it.
    pub fn new(inner: S, faults: Faults) -> Self {
        Self { inner, faults, locks: UploadLocks::new() }
    }

    /// Returns the control over the faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Returns the wrapped store.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl Injected for StoreError {
    fn of(failure: Failure) -> Self {
        match failure {
            Failure::Io => Self::Io(Errno::IO.into()),
            Failure::Full => Self::Full,
        }
    }

    fn down() -> Self {
        Self::Io(io::Error::other("the machine is down"))
    }
}

impl Injected for AdoptError {
    fn of(failure: Failure) -> Self {
        StoreError::of(failure).into()
    }

    fn down() -> Self {
        StoreError::down().into()
    }
}

#[async_trait]
impl<S: BlobStore> BlobStore for Faulty<S> {
    async fn stage(&self, upload: UploadId, len: u64) -> Result<Arc<dyn StagedBytes>, StoreError> {
        let guard = self.locks.acquire(upload).await;
        let inner = self.faults.apply(Operation::Stage, self.inner.stage(upload, len)).await?;
        Ok(Arc::new(staged::Handle {
            inner,
            faults: self.faults.clone(),
            lock: upload_locks::open_handle(guard, ()),
        }))
    }

    async fn publish(&self, upload: UploadId, key: &BlobKey) -> Result<u64, StoreError> {
        let _guard = self.locks.acquire(upload).await;
        self.faults.apply(Operation::Publish, self.inner.publish(upload, key)).await
    }

    async fn unpublish(&self, upload: UploadId, key: &BlobKey) -> Result<bool, StoreError> {
        let _guard = self.locks.acquire(upload).await;
        self.faults.apply(Operation::Unpublish, self.inner.unpublish(upload, key)).await
    }

    async fn discard(&self, upload: UploadId) -> Result<(), StoreError> {
        let _guard = self.locks.acquire(upload).await;
        self.faults.apply(Operation::Discard, self.inner.discard(upload)).await
    }

    async fn read(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Content, StoreError> {
        self.faults.apply(Operation::Read, self.inner.read(key, size, range)).await
    }

    async fn inspect(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.faults.apply(Operation::Inspect, self.inner.inspect(key, size, range)).await
    }

    async fn export(
        &self,
        key: &BlobKey,
        size: u64,
        to: &Path,
        method: ExportMethod,
    ) -> Result<ExportMethod, StoreError> {
        self.faults.apply(Operation::Read, self.inner.export(key, size, to, method)).await
    }

    async fn adopt(&self, from: &Path, key: &BlobKey, how: Adoption) -> Result<AdoptedFile, AdoptError> {
        self.faults.apply(Operation::Adopt, self.inner.adopt(from, key, how)).await
    }

    async fn sync_adopted(&self, keys: &[BlobKey]) -> Result<(), StoreError> {
        self.faults.apply(Operation::SyncAdopted, self.inner.sync_adopted(keys)).await
    }

    async fn links(&self, key: &BlobKey) -> Result<u64, StoreError> {
        self.inner.links(key).await
    }

    async fn remove(&self, key: &BlobKey) -> Result<(), StoreError> {
        self.faults.apply(Operation::Remove, self.inner.remove(key)).await
    }

    async fn space(&self) -> Result<Space, StoreError> {
        self.inner.space().await
    }

    async fn allocated(&self, of: StoredItem<'_>) -> Result<u64, StoreError> {
        self.inner.allocated(of).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.faults.apply(Operation::Check, self.inner.check()).await
    }

    async fn list(&self, from: Option<&str>) -> Result<Listing, StoreError> {
        self.inner.list(from).await
    }
}
