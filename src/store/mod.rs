//! The blob store: large, immutable, content-addressed bytes.
//!
//! The key of a blob is its digest and a random *generation*, which is new for each upload that becomes the blob. A key
//! is never written twice, so removing one can never race with a new push of the same digest. This needs no lock, on a
//! disk as on S3. The metadata store records which generation is current.

mod adopted;
mod buffers;
mod error;
#[cfg(any(test, feature = "testing"))]
#[path = "../../tests/doubles/faulty_store/mod.rs"]
pub mod faulty;
mod file_stream;
mod filesystem;
pub(crate) mod hashing;
mod layout;
#[cfg(any(test, feature = "testing"))]
#[path = "../../tests/doubles/memory_store/mod.rs"]
mod memory;
#[cfg(test)]
pub mod suite;
mod upload_locks;

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, future, stream};

use crate::oci::{BlobKey, UploadId};

pub use adopted::{AdoptError, AdoptedFile, Adoption};
pub use buffers::{Buffer, Buffers};
pub use error::StoreError;
pub use file_stream::{FilePart, FileStream};
pub(crate) use filesystem::durable;
pub use filesystem::{Access, FilesystemStore, OpenError};
pub use layout::STATE_FILE;
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryStore;

/// Disk space, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// The total space.
    pub total: u64,
    /// The space that can still be written.
    pub free: u64,
}

/// A stream of bytes read from the store.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// The content of a blob, or of a range of it.
pub enum Content {
    /// All bytes, in memory.
    Whole(Bytes),
    /// A stream of pieces.
    Stream(ByteStream),
    /// An open file, for callers that can send parts of a file; otherwise a stream of pieces.
    File(FileStream),
}

impl Content {
    /// Converts the content to a stream of pieces.
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

/// The staged bytes of an upload. Writes have an offset. Only the newest handle of an upload works: staging again,
/// publishing and discarding first wait for the running write and then close older handles ([`StoreError::Closed`]). So
/// a stalled owner never overwrites the bytes of its successor.
#[async_trait]
pub trait StagedBytes: Send + Sync + 'static {
    /// Writes `pieces` one after the other from `offset` on. A write whose future is dropped continues, and every later
    /// call for the same upload waits for its end.
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Io`]; the number of written bytes is then unknown, and the handle is
    /// closed. [`StoreError::Closed`] if the handle is closed.
    async fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<(), StoreError>;

    /// Makes all written bytes durable. After an error the bytes are discarded, because a second, successful sync would
    /// prove nothing: the handle is closed and the upload has no staged bytes any more.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`] and [`StoreError::Closed`].
    async fn sync(&self) -> Result<(), StoreError>;

    /// Reads written bytes back.
    ///
    /// # Errors
    /// [`StoreError::Io`] and [`StoreError::Closed`].
    async fn read(&self, range: Range<u64>) -> Result<ByteStream, StoreError>;
}

/// A page of [`BlobStore::list`].
#[derive(Debug, Default)]
pub struct Listing {
    /// The keys of blobs with their sizes in bytes, in the order of the store.
    pub blobs: Vec<(BlobKey, u64)>,
    /// Uploads with staged bytes, with their sizes.
    pub uploads: Vec<(UploadId, u64)>,
    /// Names of files the store did not create. They are kept and reported.
    pub unknown: Vec<String>,
    /// The start of the next page; `None` at the end.
    pub next: Option<String>,
}

/// How the bytes of a blob are made available to other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportMethod {
    /// As another name of the blob's file. It takes no space, and keeps the owner and the mode of the file.
    HardLink,
    /// As a copy, which everyone may read.
    Copy,
}

/// Something that uses disk space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredItem<'a> {
    /// The bytes of a blob.
    Blob(&'a BlobKey),
    /// The staged bytes of an upload.
    Upload(UploadId),
    /// The directories of the blobs, without the blobs.
    Directories,
}

/// Stores blobs and staged uploads. Every implementation runs the scenarios of `suite`.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Opens the staged bytes of an upload, which are `len` long. They are created if `len` is zero and there are none,
    /// and truncated to `len` if there are more.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if there are fewer than `len`.
    async fn stage(&self, upload: UploadId, len: u64) -> Result<Arc<dyn StagedBytes>, StoreError>;

    /// Moves the staged bytes of an upload to `key`, without replacing anything, and makes them durable there. The
    /// upload has no staged bytes afterwards. The caller must have recorded `key` as the upload's intent. Returns the
    /// disk usage of the blob in bytes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there are no staged bytes. After any other error there may be bytes at `key` or not;
    /// [`BlobStore::unpublish`] returns which. After a failed sync the bytes are discarded, and the upload cannot be
    /// resumed.
    async fn publish(&self, upload: UploadId, key: &BlobKey) -> Result<u64, StoreError>;

    /// Undoes a [`BlobStore::publish`] that was not recorded: the bytes become staged again. Returns `false` if there
    /// is nothing at `key`; staged bytes, if any, are unchanged then. After a crash only the bytes that were synced
    /// before are certain: stage the upload with that length.
    ///
    /// # Errors
    /// [`StoreError::Io`], also if the upload has other staged bytes; both are kept then.
    async fn unpublish(&self, upload: UploadId, key: &BlobKey) -> Result<bool, StoreError>;

    /// Discards the staged bytes of an upload, if there are any.
    ///
    /// # Errors
    /// [`StoreError::Io`] if they cannot be removed.
    async fn discard(&self, upload: UploadId) -> Result<(), StoreError>;

    /// Reads the bytes of `range` of a blob whose recorded size is `size`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such blob, and [`StoreError::Damaged`] if it has another size.
    async fn read(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Content, StoreError>;

    /// Reads the bytes of `range`, which must fit in memory, around the caches as far as the medium allows. It is for
    /// callers that verify everything once: it shows what is on the disk, and keeps the cached pages of other readers.
    ///
    /// # Errors
    /// The same as [`BlobStore::read`].
    async fn inspect(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// Makes the bytes of a blob whose recorded size is `size` available at the path `to`, outside of the store and in
    /// a directory that exists. A hard link becomes a copy where it is impossible. Returns what was made.
    ///
    /// # Errors
    /// The same as [`BlobStore::read`], and [`StoreError::Io`] if `to` exists or can't be written.
    async fn export(
        &self,
        key: &BlobKey,
        size: u64,
        to: &Path,
        method: ExportMethod,
    ) -> Result<ExportMethod, StoreError>;

    /// Brings a file of another registry's tree to `key`, without replacing anything, and leaves the file as it is. The
    /// caller must have recorded `key` as a key to be adopted, and calls [`BlobStore::sync_adopted`] before it records
    /// the blob. A copy is complete and matches the digest.
    ///
    /// # Errors
    /// [`AdoptError`]; nothing is at `key` then.
    async fn adopt(&self, from: &Path, key: &BlobKey, how: Adoption) -> Result<AdoptedFile, AdoptError>;

    /// Makes the names of adopted blobs durable.
    ///
    /// # Errors
    /// [`StoreError::Io`]
    async fn sync_adopted(&self, keys: &[BlobKey]) -> Result<(), StoreError>;

    /// Returns how many names the file of a blob has. More than one means that another tree has it too.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such blob, and [`StoreError::Io`].
    async fn links(&self, key: &BlobKey) -> Result<u64, StoreError>;

    /// Removes the bytes of a blob, if they exist. Only bytes that no record names may be removed. Readers that have
    /// started are not affected.
    ///
    /// # Errors
    /// [`StoreError::Io`], and [`StoreError::Vanished`] if the store is not the one that was opened.
    async fn remove(&self, key: &BlobKey) -> Result<(), StoreError>;

    /// Measures the disk space.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be measured.
    async fn space(&self) -> Result<Space, StoreError>;

    /// Measures the disk usage of an item in bytes. An upload without staged bytes uses none.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such blob, and [`StoreError::Io`].
    async fn allocated(&self, of: StoredItem<'_>) -> Result<u64, StoreError>;

    /// Verifies that the store is the one that was opened and, unless it is read-only, that a write becomes durable.
    ///
    /// # Errors
    /// The error of the store.
    async fn check(&self) -> Result<(), StoreError>;

    /// Lists the content of the store, for `fsck`. This is the only method that walks the tree. `from` is
    /// [`Listing::next`] of the last page.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the store cannot be read.
    async fn list(&self, from: Option<&str>) -> Result<Listing, StoreError>;
}
