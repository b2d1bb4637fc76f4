//! The blob store in a directory tree. [`crate::store::layout`] describes the tree.
//!
//! | file | what it does |
//! | --- | --- |
//! | `identity` | distinguishes this store from another, and from an empty mount point |
//! | `staged`, `direct` | receive the bytes of an upload |
//! | `publish` | moves them to the path of their blob, and back |
//! | `read`, `stream`, `pieces` | read blobs |
//! | `inspect` | reads blobs around the page cache |
//! | `list`, `allocated`, `health` | list the content, measure its disk usage, check the store |
//! | `durable`, `shards` | directories that survive a power cut |

mod allocated;
mod direct;
pub(crate) mod durable;
mod health;
mod identity;
mod inspect;
mod list;
mod publish;
mod read;
mod shards;
mod staged;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use self::direct::DirectWrites;
use self::identity::Identity;
use self::shards::Shards;
use super::buffers::Buffers;
use super::layout::Layout;
use super::upload_locks::{UploadLocks, closed};
use super::{BlobStore, Content, Listing, Space, StagedBytes, StoreError, StoredItem};
use crate::oci::{BlobKey, UploadId};

pub use self::identity::OpenError;
pub use self::stream::{FilePart, FileStream};

/// How many bytes are read at once: enough to make system calls cheap, and few enough to fit the processor's cache.
const PIECE: usize = 256 << 10;

/// How many idle buffers of this size are kept.
const IDLE_PIECES: usize = 8;

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For everything. A missing or empty root becomes a store.
    ReadWrite,
    /// For reading only: every call that would change something fails, and nothing is written.
    ReadOnly,
}

/// A store in a directory.
pub struct FilesystemStore {
    tree: Arc<Tree>,
    locks: UploadLocks<staged::Staged>,
}

/// The part that blocking tasks work on.
struct Tree {
    layout: Layout,
    identity: Identity,
    access: Access,
    shards: Shards,
    pieces: Arc<Buffers>,
    direct: DirectWrites,
}

impl FilesystemStore {
    /// Opens the store at `root`. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(root: &Path, access: Access) -> Result<Self, OpenError> {
        let layout = Layout::new(root);
        let identity = match (Identity::read(&layout)?, access) {
            (Some(identity), _) => identity,
            (None, Access::ReadWrite) => Identity::create(&layout)?,
            (None, Access::ReadOnly) => {
                let path = layout.identity();
                return Err(OpenError::Unidentified { path, reason: "so the directory is not a store" });
            }
        };
        let shards = match access {
            Access::ReadOnly => Shards::unknown(),
            Access::ReadWrite => {
                Shards::prepare(&layout).map_err(|source| OpenError::Io { path: root.to_owned(), source })?
            }
        };
        let pieces = Buffers::new(PIECE, IDLE_PIECES);
        let direct = DirectWrites::default();
        let tree = Tree { layout, identity, access, shards, pieces, direct };
        Ok(Self { tree: Arc::new(tree), locks: UploadLocks::new() })
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

    /// Runs `work` on the tree on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tree = Arc::clone(&self.tree);
        blocking(move || work(&tree)).await
    }
}

impl Tree {
    fn writable(&self) -> Result<(), StoreError> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(StoreError::ReadOnly),
        }
    }

    /// Returns the error for a missing name: `otherwise`, or that the whole store is missing.
    fn missing(&self, otherwise: StoreError) -> StoreError {
        self.identity.verify(&self.layout).err().unwrap_or(otherwise)
    }

    /// Unlinks a file, without a sync of the directory. A name that reappears after a power cut is one that no record
    /// names: it breaks no promise, and `fsck` finds it. If the metadata is on the same journaling filesystem, the sync
    /// of the transaction that forgets the path makes the unlinking durable too.
    fn unlink(&self, path: &Path) -> Result<(), StoreError> {
        Ok(durable::remove(path).map(drop)?)
    }
}

/// Runs `work` on a blocking thread, to its end even if the caller is dropped.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Io(io::Error::other(error))),
    }
}

#[async_trait]
impl BlobStore for FilesystemStore {
    async fn stage(&self, upload: UploadId, len: u64) -> Result<Arc<dyn StagedBytes>, StoreError> {
        self.tree.writable()?;
        staged::open(self, upload, len).await
    }

    async fn publish(&self, upload: UploadId, key: &BlobKey) -> Result<u64, StoreError> {
        self.tree.writable()?;
        let mut guard = self.locks.acquire(upload).await;
        let key = key.clone();
        self.blocking(move |tree| {
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
        self.blocking(move |tree| {
            let result = tree.unpublish(upload, &key);
            drop(guard);
            result
        })
        .await
    }

    async fn discard(&self, upload: UploadId) -> Result<(), StoreError> {
        self.tree.writable()?;
        let mut guard = self.locks.acquire(upload).await;
        self.blocking(move |tree| {
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
        self.blocking(move |tree| tree.inspect(&key, size, range)).await
    }

    async fn remove(&self, key: &BlobKey) -> Result<(), StoreError> {
        self.tree.writable()?;
        let key = key.clone();
        self.blocking(move |tree| {
            tree.identity.verify(&tree.layout)?;
            tree.unlink(&tree.layout.blob(&key))
        })
        .await
    }

    async fn space(&self) -> Result<Space, StoreError> {
        self.blocking(Tree::space).await
    }

    async fn allocated(&self, of: StoredItem<'_>) -> Result<u64, StoreError> {
        let path = match of {
            StoredItem::Blob(key) => self.tree.layout.blob(key),
            StoredItem::Upload(upload) => self.tree.layout.upload(upload),
            StoredItem::Directories => return self.blocking(Tree::directories).await,
        };
        match (self.blocking(move |tree| tree.allocated(path)).await, of) {
            (Err(StoreError::NotFound), StoredItem::Upload(_)) => Ok(0),
            (allocated, _) => allocated,
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.blocking(Tree::check).await
    }

    async fn list(&self, from: Option<&str>) -> Result<Listing, StoreError> {
        let from = from.map(str::to_owned);
        self.blocking(move |tree| tree.list(from.as_deref())).await
    }
}
