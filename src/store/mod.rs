//! The bytes: big, immutable, content-addressed.
//!
//! A blob's key is its digest and a random *generation* that is new for each upload that becomes it. A key
//! is never written twice, so that removing one can never race with a new push of the same digest: no lock,
//! on a disk as on S3. Which generation is current is a fact, and lives in the metadata store.

mod buffers;
pub mod faulty;
mod filesystem;
mod layout;
mod memory;
pub mod suite;
mod turns;

use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, future, stream};
use thiserror::Error;

use crate::oci::{BlobKey, UploadId};

pub use buffers::{Buffer, Buffers};
pub(crate) use filesystem::durable;
pub use filesystem::{Access, FilePart, FileStream, FilesystemStore, OpenError};
pub use layout::STATE_FILE;
pub use memory::MemoryStore;

/// Room on the medium, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// How much there is in all.
    pub total: u64,
    /// How much can still be written.
    pub free: u64,
}

/// What went wrong with the bytes.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There are no such bytes.
    #[error("no such bytes in the store")]
    NotFound,
    /// The bytes that are there are not those that were stored, as far as a look at their size tells.
    #[error("the stored bytes are damaged: {0}")]
    Damaged(String),
    /// The medium is full, or a quota is.
    #[error("the store is full")]
    Full,
    /// The store cannot be written: a read-only medium.
    #[error("the store is read-only")]
    ReadOnly,
    /// The store's identity file is gone or another store's: an unmounted or swapped volume.
    #[error("the store is not the one that was opened: {0}")]
    Vanished(String),
    /// The staged bytes may no longer be touched through this handle: they were published, discarded, staged
    /// anew, or thrown away because a write or sync of them failed.
    #[error("the upload's staged bytes are no longer open here: {0}")]
    Closed(&'static str),
    /// Any other failure of the medium.
    #[error("the store failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Io(error),
        }
    }
}

/// Bytes on their way out.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// A blob's content, or a range of it.
pub enum Content {
    /// All of it, at hand.
    Whole(Bytes),
    /// Piece by piece.
    Stream(ByteStream),
    /// Piece by piece, or part by part of an open file for who can do with that.
    File(FileStream),
}

impl Content {
    /// Its bytes, in pieces.
    pub fn into_stream(self) -> ByteStream {
        match self {
            Self::Whole(bytes) => Box::pin(stream::once(future::ready(Ok(bytes)))),
            Self::Stream(pieces) => pieces,
            Self::File(file) => Box::pin(file),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => f.debug_tuple("Whole").field(&bytes.len()).finish(),
            Self::Stream(_) => f.write_str("Stream"),
            Self::File(_) => f.write_str("File"),
        }
    }
}

/// The bytes of an upload on their way in. Writes are positioned. Only the newest handle of an upload works:
/// staging it anew, publishing and discarding it first wait for the write that is running and then close the
/// older handles ([`StoreError::Closed`]), so that a stalled owner never writes on top of its successor.
#[async_trait]
pub trait StagedBytes: Send + Sync + 'static {
    /// Writes `pieces` one behind the other from `offset` on. A write whose future is dropped goes on, and
    /// every later call about the same upload waits for its end.
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Io`]; how much was written then is unknown, and the handle is
    /// closed. [`StoreError::Closed`].
    async fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<(), StoreError>;

    /// Makes all that was written durable. After an error the bytes are thrown away, for a second sync that
    /// succeeds proves nothing: the handle is closed and the upload has no staged bytes any more.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`] and [`StoreError::Closed`].
    async fn sync(&self) -> Result<(), StoreError>;

    /// Reads back what was written.
    ///
    /// # Errors
    /// [`StoreError::Io`] and [`StoreError::Closed`].
    async fn read(&self, range: Range<u64>) -> Result<ByteStream, StoreError>;
}

/// A page of [`BlobStore::list`].
#[derive(Debug, Default)]
pub struct Listing {
    /// Blobs' keys with their sizes in bytes, in the store's own order.
    pub blobs: Vec<(BlobKey, u64)>,
    /// Uploads that have staged bytes, with their sizes.
    pub uploads: Vec<(UploadId, u64)>,
    /// Names of things that the store did not put there, which are kept and reported.
    pub unknown: Vec<String>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Something that room is spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent<'a> {
    /// A blob's bytes.
    Blob(&'a BlobKey),
    /// An upload's staged bytes.
    Upload(UploadId),
    /// The directories that the blobs lie in, without the blobs.
    Directories,
}

/// Keeps bytes. Every implementation runs the scenarios of [`suite`].
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Opens an upload's staged bytes, which are `len` long: made if `len` is zero and there are none, cut
    /// back to `len` where there are more.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when there are fewer than `len`.
    async fn stage(&self, upload: UploadId, len: u64) -> Result<Arc<dyn StagedBytes>, StoreError>;

    /// Gives an upload's staged bytes the place `key`, without replacing anything, and makes bytes and place
    /// durable. The staged bytes are gone then. The caller has recorded `key` as the upload's intent before.
    /// Tells how many bytes the medium really spends on the blob.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there are no staged bytes. After any other error the place may hold
    /// bytes or not: [`BlobStore::unpublish`] tells. Where it was a sync that failed, the bytes are thrown
    /// away and there is nothing left to resume.
    async fn publish(&self, upload: UploadId, key: &BlobKey) -> Result<u64, StoreError>;

    /// Undoes a [`BlobStore::publish`] that no record followed: the bytes become staged again. `false` if
    /// there is nothing at `key` (then the staged bytes, if any, are as they were). After a crash only as
    /// many of them are proven as were synced before: stage them with that length.
    ///
    /// # Errors
    /// [`StoreError::Io`], also when other bytes are staged for the upload; both are kept then.
    async fn unpublish(&self, upload: UploadId, key: &BlobKey) -> Result<bool, StoreError>;

    /// Throws an upload's staged bytes away, if there are any.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    async fn discard(&self, upload: UploadId) -> Result<(), StoreError>;

    /// Reads the bytes of `range` of a blob that has `size` bytes by its record.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], and [`StoreError::Damaged`] if the blob has another size.
    async fn read(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Content, StoreError>;

    /// Reads the bytes of `range`, which must fit the memory, for whoever looks at everything once: past the
    /// caches as far as the medium allows it. So it tells what is on the medium, and what others have read
    /// stays at hand for them.
    ///
    /// # Errors
    /// As [`BlobStore::read`].
    async fn inspect(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// Removes a blob's bytes, if they are there. Only what no record names may be removed. Readers that
    /// have begun go on undisturbed.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Vanished`] where the store is not the one that was opened.
    async fn remove(&self, key: &BlobKey) -> Result<(), StoreError>;

    /// How much room there is.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    async fn space(&self) -> Result<Space, StoreError>;

    /// How many bytes the medium really spends on something. An upload that has no staged bytes takes none.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where there is no such blob, and [`StoreError::Io`].
    async fn allocated(&self, of: Spent<'_>) -> Result<u64, StoreError>;

    /// Proves that the store is the one that was opened and, unless it was opened read-only, that a write to
    /// it becomes durable.
    ///
    /// # Errors
    /// What is wrong with it.
    async fn check(&self) -> Result<(), StoreError>;

    /// Lists what there is, for `fsck`: the one method that walks the tree. `from` is the last page's
    /// [`Listing::next`].
    ///
    /// # Errors
    /// [`StoreError::Io`].
    async fn list(&self, from: Option<&str>) -> Result<Listing, StoreError>;
}
