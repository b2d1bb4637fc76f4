//! The staged bytes of an upload.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::durable;
use super::tree::{Tree, blocking};
use crate::oci::UploadId;
use crate::store::file_stream::FileStream;
use crate::store::upload_locks::{self, HandleLock, UploadGuard, UploadLocks, closed};
use crate::store::{ByteStream, StagedBytes, StoreError};

/// Writes of up to this many bytes do not use a blocking thread: copying them into the page cache is faster than
/// handing them over.
const MAX_INLINE_WRITE: usize = 128 << 10;

/// The maximum number of pieces of one system call (`IOV_MAX`).
const MAX_PIECES: usize = 1024;

/// The open files of an upload.
pub(super) struct Staged {
    file: Arc<File>,
    /// The same file opened for writing around the page cache, once that was needed.
    direct: Option<File>,
    /// Whether the name in the directory is durable.
    named: bool,
}

impl Staged {
    /// Returns the file that was written through: the kernel reports a failed write-back to this one.
    pub(super) fn into_file(self) -> Arc<File> {
        self.file
    }
}

struct Handle {
    tree: Arc<Tree>,
    upload: UploadId,
    lock: HandleLock<Staged>,
}

/// Implements [`crate::store::BlobStore::stage`].
pub(super) async fn open(
    tree: &Arc<Tree>,
    locks: &UploadLocks<Staged>,
    upload: UploadId,
    len: u64,
) -> Result<Arc<dyn StagedBytes>, StoreError> {
    let mut guard = locks.acquire(upload).await;
    guard.close(closed::RESTAGED);
    let (guard, file) = if len == 0 {
        // Creating a file takes a few microseconds, less than handing over to another thread.
        (guard, tree.open_staged(upload, 0)?)
    } else {
        tree.blocking(move |tree| Ok((guard, tree.open_staged(upload, len)?))).await?
    };
    let staged = Staged { file: Arc::new(file), direct: None, named: len > 0 };
    let lock = upload_locks::open_handle(guard, staged);
    Ok(Arc::new(Handle { tree: Arc::clone(tree), upload, lock }))
}

impl Tree {
    fn open_staged(&self, upload: UploadId, len: u64) -> Result<File, StoreError> {
        let path = self.layout.upload(upload);
        let opened = OpenOptions::new().read(true).write(true).create(len == 0).truncate(false).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let gone =
                    StoreError::Damaged(format!("the {len} bytes staged for upload {upload} are missing"));
                return Err(self.missing(if len == 0 { error.into() } else { gone }));
            }
            Err(error) => return Err(error.into()),
        };
        let found = file.metadata()?.len();
        if found < len {
            return Err(StoreError::Damaged(format!("upload {upload} has {found} of {len} staged bytes")));
        }
        if found > len {
            file.set_len(len)?;
        }
        Ok(file)
    }
}

#[async_trait]
impl StagedBytes for Handle {
    async fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        let guard = self.lock.acquire().await?;
        if pieces.iter().map(Bytes::len).sum::<usize>() <= MAX_INLINE_WRITE {
            return write(&self.tree, self.upload, guard, offset, pieces);
        }
        let tree = Arc::clone(&self.tree);
        let upload = self.upload;
        blocking(move || write(&tree, upload, guard, offset, pieces)).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        let guard = self.lock.acquire().await?;
        let tree = Arc::clone(&self.tree);
        let upload = self.upload;
        blocking(move || sync(&tree, upload, guard)).await
    }

    async fn read(&self, range: Range<u64>) -> Result<ByteStream, StoreError> {
        let mut guard = self.lock.acquire().await?;
        let staged = guard.state().ok_or(StoreError::Closed(closed::FAILED))?;
        let pieces = Arc::clone(&self.tree.pieces);
        Ok(Box::pin(FileStream::new(Arc::clone(&staged.file), range, pieces)))
    }
}

fn write(
    tree: &Tree,
    upload: UploadId,
    mut guard: UploadGuard<Staged>,
    offset: u64,
    mut pieces: Vec<Bytes>,
) -> Result<(), StoreError> {
    let Staged { file, direct, .. } = guard.state().ok_or(StoreError::Closed(closed::FAILED))?;
    let path = tree.layout.upload(upload);
    let direct = match &mut pieces[..] {
        [piece] => tree.direct.write(direct, &path, offset, piece),
        _ => Ok(0),
    };
    let written = direct.and_then(|written| write_all_at(file, offset + written as u64, &pieces));
    if let Err(error) = written {
        guard.close(closed::FAILED);
        return Err(error.into());
    }
    Ok(())
}

fn sync(tree: &Tree, upload: UploadId, mut guard: UploadGuard<Staged>) -> Result<(), StoreError> {
    let staged = guard.state().ok_or(StoreError::Closed(closed::FAILED))?;
    if let Err(error) = sync_named(tree, staged) {
        guard.close(closed::FAILED);
        // The kernel has marked the lost pages as clean, so nothing would ever detect the loss. An error from unlinking
        // adds nothing to the error of the sync.
        let _ = tree.unlink(&tree.layout.upload(upload));
        return Err(error.into());
    }
    Ok(())
}

/// Syncs the bytes and, the first time, the name in the directory.
fn sync_named(tree: &Tree, staged: &mut Staged) -> io::Result<()> {
    staged.file.sync_data()?;
    if !staged.named {
        durable::sync_dir(&tree.layout.uploads())?;
        staged.named = true;
    }
    Ok(())
}

fn write_all_at(file: &File, mut offset: u64, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    // Skips empty pieces, so that a write of nothing is not mistaken for a failed one.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let batch = &rest[..rest.len().min(MAX_PIECES)];
        let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(file, batch, offset))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
        offset += written as u64;
    }
    Ok(())
}
