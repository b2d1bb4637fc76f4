//! Bytes in a directory tree: [`crate::store::layout`] draws it.
//!
//! | file | what it does |
//! | --- | --- |
//! | `identity` | tells this store from another, and from an empty mount point |
//! | `staged`, `direct` | takes an upload's bytes in |
//! | `publish` | gives them their place, and takes it back |
//! | `read`, `stream`, `pieces` | gives bytes out |
//! | `inspect` | reads past the page cache |
//! | `list`, `allocated`, `health` | what there is, what it takes, and whether it works |
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

use std::fs;
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
use super::turns::{Turns, closed};
use super::{BlobStore, Content, Listing, Space, Spent, StagedBytes, StoreError};
use crate::oci::{BlobKey, UploadId};

pub use self::identity::OpenError;
pub use self::stream::{FilePart, FileStream};

/// How much is read at once: system calls are few enough then to cost nothing, and a piece fits the cache.
const PIECE: usize = 256 << 10;

/// How many buffers for it are kept for later.
const IDLE_PIECES: usize = 8;

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything. A root that is missing or empty is made a store.
    ReadWrite,
    /// Reading alone: every call that would change something fails, and nothing is ever written.
    ReadOnly,
}

/// A store in a directory.
pub struct FilesystemStore {
    tree: Arc<Tree>,
    turns: Turns<staged::Staged>,
}

/// What the blocking tasks work on.
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
                return Err(OpenError::Unidentified {
                    path,
                    reason: "so this is no store that could be read",
                });
            }
        };
        let shards = match access {
            Access::ReadOnly => Shards::unknown(),
            Access::ReadWrite => {
                Shards::prepare(&layout).map_err(|source| OpenError::Io { path: root.to_owned(), source })?
            }
        };
        let (pieces, direct) = (Buffers::new(PIECE, IDLE_PIECES), DirectWrites::default());
        let tree = Tree { layout, identity, access, shards, pieces, direct };
        Ok(Self { tree: Arc::new(tree), turns: Turns::new() })
    }

    /// The identity of the store in the directory `root`, which is not opened. `None` if there is no store.
    ///
    /// # Errors
    /// [`OpenError`] if its identity file cannot be read.
    pub fn identify(root: &Path) -> Result<Option<Uuid>, OpenError> {
        Ok(Identity::read(&Layout::new(root))?.map(|identity| identity.store))
    }

    /// The identity that the store was given when it was made.
    pub fn store_id(&self) -> Uuid {
        self.tree.identity.store
    }

    /// Runs `work` on the tree where it may block.
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

    /// Something that should be there is not: says so, or that the whole store is gone.
    fn missing(&self, otherwise: StoreError) -> StoreError {
        self.identity.verify(&self.layout).err().unwrap_or(otherwise)
    }

    /// Unlinking needs no sync of the directory. A name that comes back in a power cut is one that no record
    /// names: it breaks no promise and `fsck` finds it. And where the metadata lies on the same journaling
    /// filesystem, the sync of the transaction that forgets the path carries the unlinking with it.
    fn unlink(&self, path: &Path) -> Result<(), StoreError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Runs `work` where it may block. It runs to its end also when the caller has gone.
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
        let mut turn = self.turns.take(upload).await;
        let key = key.clone();
        self.blocking(move |tree| {
            // Before anything else: a handle that still worked would write into a published blob.
            let file = turn.close(closed::PUBLISHED).map(staged::Staged::into_file);
            tree.publish(upload, &key, file)
        })
        .await
    }

    async fn unpublish(&self, upload: UploadId, key: &BlobKey) -> Result<bool, StoreError> {
        self.tree.writable()?;
        let turn = self.turns.take(upload).await;
        let key = key.clone();
        self.blocking(move |tree| {
            let result = tree.unpublish(upload, &key);
            drop(turn);
            result
        })
        .await
    }

    async fn discard(&self, upload: UploadId) -> Result<(), StoreError> {
        self.tree.writable()?;
        let mut turn = self.turns.take(upload).await;
        self.blocking(move |tree| {
            drop(turn.close(closed::DISCARDED));
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

    async fn allocated(&self, of: Spent<'_>) -> Result<u64, StoreError> {
        let path = match of {
            Spent::Blob(key) => self.tree.layout.blob(key),
            Spent::Upload(upload) => self.tree.layout.upload(upload),
            Spent::Directories => return self.blocking(Tree::directories).await,
        };
        match (self.blocking(move |tree| tree.allocated(path)).await, of) {
            (Err(StoreError::NotFound), Spent::Upload(_)) => Ok(0),
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
