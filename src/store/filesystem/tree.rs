//! The directory tree of a store: opens it, remembers its directories, removes files, measures its disk usage, and
//! checks whether it works.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

use super::durable;
use super::identity::{Identity, OpenError};
use crate::oci::{Algorithm, BlobKey};
use crate::store::Space;
use crate::store::buffers::Buffers;
use crate::store::error::StoreError;
use crate::store::file_stream::PIECE;
use crate::store::layout::{self, Layout, SHARDS};

/// How many idle buffers of this size are kept.
const IDLE_PIECES: usize = 8;

/// The unit in which the system counts blocks, whatever the filesystem's block size is.
pub(super) const BLOCK: u64 = 512;

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For everything. A missing or empty root becomes a store.
    ReadWrite,
    /// For reading only: every call that would change something fails, and nothing is written.
    ReadOnly,
}

/// The part that blocking tasks work on.
pub(super) struct Tree {
    pub(super) layout: Layout,
    pub(super) identity: Identity,
    pub(super) access: Access,
    pub(super) shards: Shards,
    pub(super) pieces: Arc<Buffers>,
    /// Whether the filesystem supports writes around the page cache, as far as is known.
    pub(super) supports_direct_writes: AtomicBool,
}

impl Tree {
    /// Opens the tree at `root`. Blocks.
    pub(super) fn open(root: &Path, access: Access) -> Result<Self, OpenError> {
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
        let supports_direct_writes = AtomicBool::new(true);
        Ok(Self { layout, identity, access, shards, pieces, supports_direct_writes })
    }

    /// Runs `work` on the tree on a blocking thread.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tree = Arc::clone(self);
        blocking(move || work(&tree)).await
    }

    pub(super) fn writable(&self) -> Result<(), StoreError> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(StoreError::ReadOnly),
        }
    }

    /// Returns the error for a missing name: `otherwise`, or that the whole store is missing.
    pub(super) fn missing(&self, otherwise: StoreError) -> StoreError {
        self.identity.verify(&self.layout).err().unwrap_or(otherwise)
    }

    /// Unlinks a file, without a sync of the directory. A name that reappears after a power cut is one that no record
    /// names: it breaks no promise, and `fsck` finds it. If the metadata is on the same journaling filesystem, the sync
    /// of the transaction that forgets the path makes the unlinking durable too.
    pub(super) fn unlink(&self, path: &Path) -> Result<(), StoreError> {
        Ok(durable::remove(path).map(drop)?)
    }

    pub(super) fn space(&self) -> Result<Space, StoreError> {
        let stat = rustix::fs::statvfs(self.layout.root()).map_err(std::io::Error::from)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        // Space reserved for root is not available to the registry.
        Ok(Space { total: bytes(stat.f_blocks), free: bytes(stat.f_bavail) })
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.identity.verify(&self.layout)?;
        match self.access {
            Access::ReadOnly => Ok(()),
            Access::ReadWrite => Ok(durable::probe(&self.layout.probe())?),
        }
    }

    /// Returns the real disk usage of one file: whole blocks, and nothing for holes.
    pub(super) fn allocated(&self, path: impl AsRef<Path>) -> Result<u64, StoreError> {
        match blocks(path.as_ref())? {
            Some(bytes) => Ok(bytes),
            None => Err(self.missing(StoreError::NotFound)),
        }
    }

    /// Returns the disk usage of the directories. Some grow with the names in them and never shrink. There are at most
    /// 515, however large the store is.
    pub(super) fn directories(&self) -> Result<u64, StoreError> {
        let mut bytes = blocks(&self.layout.blobs())?.unwrap_or(0);
        for algorithm in Algorithm::ALL {
            let path = self.layout.algorithm(algorithm);
            bytes += blocks(&path)?.unwrap_or(0);
            for shard in 0..SHARDS {
                bytes += blocks(&path.join(layout::shard_name(shard)))?.unwrap_or(0);
            }
        }
        Ok(bytes)
    }
}

/// The blob directories known to exist durably, so that a typical publish need not check or sync them.
pub(super) struct Shards {
    sha256: [AtomicBool; SHARDS],
    sha512: [AtomicBool; SHARDS],
}

impl Shards {
    /// Creates a set without known directories.
    pub(super) fn unknown() -> Self {
        Self {
            sha256: [const { AtomicBool::new(false) }; SHARDS],
            sha512: [const { AtomicBool::new(false) }; SHARDS],
        }
    }

    /// Creates the directories every store has, and records the existing shards: at most 256 names per algorithm,
    /// however large the store is.
    pub(super) fn prepare(layout: &Layout) -> io::Result<Self> {
        let shards = Self::unknown();
        durable::create_dir(&layout.uploads())?;
        durable::create_dir(&layout.blobs())?;
        for algorithm in Algorithm::ALL {
            let path = layout.algorithm(algorithm);
            durable::create_dir(&path)?;
            for entry in fs::read_dir(&path)? {
                if let Some(index) = entry?.file_name().to_str().and_then(layout::parse_shard) {
                    shards.of(algorithm)[index].store(true, Ordering::Relaxed);
                }
            }
            durable::sync_dir(&path)?;
        }
        Ok(shards)
    }

    /// Creates the directory of `key` durably, unless it is known to exist.
    pub(super) fn ensure(&self, layout: &Layout, key: &BlobKey) -> io::Result<()> {
        let known = self.get(key);
        if !known.load(Ordering::Acquire) {
            durable::create_dir(&layout.shard(key))?;
            known.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Forgets the directory of `key`, because it does not exist any more.
    pub(super) fn forget(&self, key: &BlobKey) {
        self.get(key).store(false, Ordering::Release);
    }

    fn get(&self, key: &BlobKey) -> &AtomicBool {
        &self.of(key.digest.algorithm())[layout::shard_index(&key.digest)]
    }

    fn of(&self, algorithm: Algorithm) -> &[AtomicBool; SHARDS] {
        match algorithm {
            Algorithm::Sha256 => &self.sha256,
            Algorithm::Sha512 => &self.sha512,
        }
    }
}

/// Returns the disk usage of a name, if it exists.
fn blocks(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.blocks() * BLOCK)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Runs `work` on a blocking thread, to its end even if the caller is dropped.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Io(io::Error::other(error))),
    }
}
