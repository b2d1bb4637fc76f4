//! The blob store in a directory tree. [`crate::store::layout`] describes the tree.
//!
//! | file | what it does |
//! | --- | --- |
//! | `identity` | distinguishes this store from another, and from an empty mount point |
//! | `staged` | receives the bytes of an upload, moves them to the path of their blob, and back |
//! | `read` | reads blobs |
//! | `inspect` | reads blobs around the page cache |
//! | `export` | hard-links or copies blobs to paths outside of the store |
//! | `tree` | opens the tree, remembers its directories, measures its disk usage, checks whether it works |
//! | `list` | lists the content |
//! | `adopt` | brings files of another registry's tree into the store |
//! | `durable` | creates directories and small files that survive a power cut |

mod adopt;
pub(crate) mod durable;
mod export;
mod identity;
mod inspect;
mod list;
mod read;
mod staged;
#[cfg(test)]
mod tests;
mod tree;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use self::identity::Identity;
use self::tree::Tree;
use super::layout::Layout;
use super::upload_locks::{UploadLocks, closed};
use super::{
    AdoptError, AdoptedFile, Adoption, BlobStore, Content, ExportMethod, Listing, Space, StagedBytes,
    StoreError, StoredItem,
};
use crate::oci::{BlobKey, UploadId};

pub use self::identity::OpenError;
pub use self::tree::Access;

/// A store in a directory.
pub struct FilesystemStore {
    tree: Arc<Tree>,
    locks: UploadLocks<staged::Staged>,
}

impl FilesystemStore {
    /// Opens the store at `root`. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(root: &Path, access: Access) -> Result<Self, OpenError> {
        Ok(Self { tree: Arc::new(Tree::open(root, access)?), locks: UploadLocks::new() })
    }

    /// Returns the identity of the store in the directory `root` without opening it. `None` if there is no store.
    ///
    /// # Errors
    /// [`OpenError`] if its identity file cannot be read.
    pub fn identify(root: &Path) -> Result<Option<Uuid>, OpenError> {
        Ok(Identity::read(&Layout::new(root))?.map(|identity| identity.store))
    }

    /// Returns the identity given to the store when it was created.
    pub fn store_id(&self) -> Uuid {
        self.tree.identity.store
    }
}

#[async_trait]
impl BlobStore for FilesystemStore {
    async fn stage(&self, upload: UploadId, len: u64) -> Result<Arc<dyn StagedBytes>, StoreError> {
        self.tree.writable()?;
        staged::open(&self.tree, &self.locks, upload, len).await
    }

    async fn publish(&self, upload: UploadId, key: &BlobKey) -> Result<u64, StoreError> {
        self.tree.writable()?;
        let mut guard = self.locks.acquire(upload).await;
        let key = key.clone();
        self.tree
            .blocking(move |tree| {
                // Closed first: a handle that still works would write into a published blob.
                let file = guard.close(closed::PUBLISHED).map(staged::Staged::into_file);
                tree.publish(upload, &key, file)
            })
            .await
    }

    async fn unpublish(&self, upload: UploadId, key: &BlobKey) -> Result<bool, StoreError> {
        self.tree.writable()?;
        let guard = self.locks.acquire(upload).await;
        let key = key.clone();
        self.tree
            .blocking(move |tree| {
                let result = tree.unpublish(upload, &key);
                drop(guard);
                result
            })
            .await
    }

    async fn discard(&self, upload: UploadId) -> Result<(), StoreError> {
        self.tree.writable()?;
        let mut guard = self.locks.acquire(upload).await;
        self.tree
            .blocking(move |tree| {
                drop(guard.close(closed::DISCARDED));
                tree.unlink(&tree.layout.upload(upload))
            })
            .await
    }

    async fn read(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Content, StoreError> {
        read::read(&self.tree, key, size, range).await
    }

    async fn inspect(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Bytes, StoreError> {
        let key = key.clone();
        self.tree.blocking(move |tree| tree.inspect(&key, size, range)).await
    }

    async fn export(
        &self,
        key: &BlobKey,
        size: u64,
        to: &Path,
        method: ExportMethod,
    ) -> Result<ExportMethod, StoreError> {
        let key = key.clone();
        let to = to.to_owned();
        self.tree.blocking(move |tree| tree.export(&key, size, &to, method)).await
    }

    async fn adopt(&self, from: &Path, key: &BlobKey, how: Adoption) -> Result<AdoptedFile, AdoptError> {
        self.tree.writable()?;
        let from = from.to_owned();
        let key = key.clone();
        // The inner result keeps the error of this file apart from those of the task.
        self.tree.blocking(move |tree| Ok(tree.adopt(&from, &key, how))).await?
    }

    async fn sync_adopted(&self, keys: &[BlobKey]) -> Result<(), StoreError> {
        let keys = keys.to_vec();
        self.tree.blocking(move |tree| tree.sync_adopted(&keys)).await
    }

    async fn links(&self, key: &BlobKey) -> Result<u64, StoreError> {
        let key = key.clone();
        self.tree.blocking(move |tree| tree.links(&key)).await
    }

    async fn remove(&self, key: &BlobKey) -> Result<(), StoreError> {
        self.tree.writable()?;
        let key = key.clone();
        self.tree
            .blocking(move |tree| {
                tree.identity.verify(&tree.layout)?;
                tree.unlink(&tree.layout.blob(&key))
            })
            .await
    }

    async fn space(&self) -> Result<Space, StoreError> {
        self.tree.blocking(Tree::space).await
    }

    async fn allocated(&self, of: StoredItem<'_>) -> Result<u64, StoreError> {
        let path = match of {
            StoredItem::Blob(key) => self.tree.layout.blob(key),
            StoredItem::Upload(upload) => self.tree.layout.upload(upload),
            StoredItem::Directories => return self.tree.blocking(Tree::directories).await,
        };
        match (self.tree.blocking(move |tree| tree.allocated(path)).await, of) {
            (Err(StoreError::NotFound), StoredItem::Upload(_)) => Ok(0),
            (allocated, _) => allocated,
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.tree.blocking(Tree::check).await
    }

    async fn list(&self, from: Option<&str>) -> Result<Listing, StoreError> {
        let from = from.map(str::to_owned);
        self.tree.blocking(move |tree| tree.list(from.as_deref())).await
    }
}
