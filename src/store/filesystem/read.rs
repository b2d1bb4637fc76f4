//! Opens blobs for reading.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::tree::{Tree, blocking};
use crate::oci::BlobKey;
use crate::store::file_stream::{FileStream, read_cached, too_short};
use crate::store::{Content, StoreError};

/// Ranges of at most this many bytes are read into memory and returned as a whole; larger ones are streamed.
const MAX_WHOLE_BYTES: u64 = 64 << 10;

/// Implements [`crate::store::BlobStore::read`]. It opens the file on the async thread: the directory entries of
/// files in use are in the kernel's cache, so that opening takes about two microseconds.
pub(super) async fn read(
    tree: &Tree,
    key: &BlobKey,
    size: u64,
    range: Range<u64>,
) -> Result<Content, StoreError> {
    check_range(&range, size)?;
    let file = tree.open_blob(key, size)?;
    if range.end - range.start > MAX_WHOLE_BYTES {
        return Ok(Content::File(FileStream::new(Arc::new(file), range, Arc::clone(&tree.pieces))));
    }
    read_small(file, range).await.map(Content::Whole)
}

/// Rejects a range that is not within `size` bytes.
pub(super) fn check_range(range: &Range<u64>, size: u64) -> Result<(), StoreError> {
    if range.start > range.end || range.end > size {
        let message = format!("bytes {}..{} of {size}", range.start, range.end);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message).into());
    }
    Ok(())
}

async fn read_small(file: File, range: Range<u64>) -> Result<Bytes, StoreError> {
    let len = usize::try_from(range.end - range.start).unwrap_or_default();
    let mut buffer = vec![0; len];
    if len == 0 || read_cached(&file, &mut buffer, range.start) == Some(len) {
        return Ok(buffer.into());
    }
    blocking(move || match file.read_exact_at(&mut buffer, range.start) {
        Ok(()) => Ok(buffer.into()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(too_short(range.end)),
        Err(error) => Err(error.into()),
    })
    .await
}

impl Tree {
    /// Opens a blob and checks its size.
    pub(super) fn open_blob(&self, key: &BlobKey, size: u64) -> Result<File, StoreError> {
        let file = match File::open(self.layout.blob(key)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.missing(StoreError::NotFound));
            }
            Err(error) => return Err(error.into()),
        };
        let found = rustix::fs::fstat(&file).map_err(io::Error::from)?.st_size;
        if u64::try_from(found) != Ok(size) {
            return Err(StoreError::Damaged(format!("{} has {found} bytes, not {size}", key.digest)));
        }
        Ok(file)
    }
}
