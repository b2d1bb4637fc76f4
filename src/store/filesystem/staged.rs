//! The staged bytes of an upload: receives them, and moves them to the path of their blob and back.
//!
//! Large writes go around the page cache (`O_DIRECT`). A large layer is written once and, on most machines, seldom
//! read. Writing it through the page cache costs a new page for every 4 KiB, a copy and a write-back: a second of CPU
//! time for each GiB. It also evicts content that is pulled often. A direct write costs a tenth of that, and leaves
//! next to nothing for a sync to wait for.
//!
//! The order of a publish is: rename, sync of the file, sync of its new directory. Renaming first is safe because no
//! record names the path until both syncs have returned. It costs one commit of the filesystem's journal, where syncing
//! first would cost two. The old directory needs no sync. If the old name reappears after a power cut, it belongs to an
//! upload without a row, or to one whose row names the new path. [`crate::store::BlobStore::discard`] or
//! [`crate::store::BlobStore::unpublish`] cleans up both.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;

use super::durable;
use super::tree::{Tree, blocking};
use crate::oci::{BlobKey, UploadId};
use crate::store::buffers::ALIGNMENT;
use crate::store::file_stream::FileStream;
use crate::store::upload_locks::{self, HandleLock, UploadGuard, UploadLocks, closed};
use crate::store::{ByteStream, StagedBytes, StoreError};

/// Writes of up to this many bytes do not use a blocking thread: copying them into the page cache is faster than
/// handing them over.
const MAX_INLINE_WRITE: usize = 128 << 10;

/// The maximum number of pieces of one system call (`IOV_MAX`).
const MAX_PIECES: usize = 1024;

/// Smaller writes are not worth waiting for the disk.
const MIN_DIRECT_WRITE: usize = 512 << 10;

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
        let metadata = file.metadata()?;
        let found = metadata.len();
        // Another registry's tree may have the file too, and it is not this store's to change.
        if metadata.nlink() > 1 {
            let message = format!("the staged bytes of upload {upload} have another hard link");
            return Err(io::Error::other(message).into());
        }
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
        [piece] => write_direct(&tree.supports_direct_writes, direct, &path, offset, piece),
        _ => Ok(0),
    };
    let written = direct.and_then(|written| write_all_at(file, offset + written as u64, &pieces));
    if let Err(error) = written {
        guard.close(closed::FAILED);
        return Err(error.into());
    }
    Ok(())
}

/// Writes the part at the front of `piece` that can be written around the page cache, removes it from `piece` and
/// returns its length. This part is all whole pages, if the piece is long and aligned both in the file and in memory.
/// `file` is `path` opened for direct writes, once that was needed. `is_supported` is whether the filesystem supports
/// direct writes, as far as is known.
///
/// # Errors
/// Errors of the disk. A filesystem without support for direct writes is not an error.
fn write_direct(
    is_supported: &AtomicBool,
    file: &mut Option<File>,
    path: &Path,
    offset: u64,
    piece: &mut Bytes,
) -> io::Result<usize> {
    let aligned = offset.is_multiple_of(ALIGNMENT as u64) && piece.as_ptr().align_offset(ALIGNMENT) == 0;
    if piece.len() < MIN_DIRECT_WRITE || !aligned || !is_supported.load(Relaxed) {
        return Ok(0);
    }
    let len = piece.len() / ALIGNMENT * ALIGNMENT;
    match open_direct(file, path).and_then(|file| file.write_all_at(&piece[..len], offset)) {
        Ok(()) => {
            piece.advance(len);
            Ok(len)
        }
        Err(error) if is_unsupported(&error) => {
            is_supported.store(false, Relaxed);
            tracing::debug!(%error, "the filesystem does not support direct writes");
            Ok(0)
        }
        Err(error) => Err(error),
    }
}

fn open_direct<'a>(file: &'a mut Option<File>, path: &Path) -> io::Result<&'a File> {
    match file {
        Some(file) => Ok(file),
        None => {
            let flags = OFlags::DIRECT.bits().cast_signed();
            Ok(file.insert(OpenOptions::new().write(true).custom_flags(flags).open(path)?))
        }
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS))
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

impl Tree {
    /// Publishes the bytes of an upload. `file` is the file they were written through, if it is still open. It is
    /// closed before its disk usage is measured: only then do some filesystems release space reserved for more bytes.
    pub(super) fn publish(
        &self,
        upload: UploadId,
        key: &BlobKey,
        file: Option<Arc<File>>,
    ) -> Result<u64, StoreError> {
        let place = self.layout.blob(key);
        self.move_to_place(upload, key, &place)?;
        if let Err(error) = self.sync_placed(key, &place, file) {
            // Bytes that failed to become durable are discarded, never synced again. If that fails as well, the upload
            // still names the path, and its cleanup removes it.
            let _ = self.unlink(&place);
            return Err(error.into());
        }
        self.allocated(place)
    }

    fn move_to_place(&self, upload: UploadId, key: &BlobKey, place: &Path) -> Result<(), StoreError> {
        let staged = self.layout.upload(upload);
        self.shards.ensure(&self.layout, key).map_err(|error| self.explain(error))?;
        match rename(&staged, place) {
            // Either name may be missing: someone may have removed an empty directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.shards.forget(key);
                self.shards.ensure(&self.layout, key).map_err(|error| self.explain(error))?;
                rename(&staged, place).map_err(|error| self.explain(error))
            }
            result => Ok(result?),
        }
    }

    fn sync_placed(&self, key: &BlobKey, place: &Path, file: Option<Arc<File>>) -> io::Result<()> {
        match file {
            Some(file) => file.sync_data()?,
            None => File::open(place)?.sync_data()?,
        }
        durable::sync_dir(&self.layout.shard(key))
    }

    pub(super) fn unpublish(&self, upload: UploadId, key: &BlobKey) -> Result<bool, StoreError> {
        let staged = self.layout.upload(upload);
        let place = self.layout.blob(key);
        match rename(&place, &staged) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.identity.verify(&self.layout).map(|()| false);
            }
            // A publish by link was interrupted before it removed the old name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_same(&staged, &place)? => {
                fs::remove_file(&place)?;
            }
            Err(error) => return Err(error.into()),
        }
        // This is rare, so it can afford to sync: the caller forgets the path next.
        durable::sync_dir(&self.layout.uploads())?;
        durable::sync_dir(&self.layout.shard(key))?;
        Ok(true)
    }

    /// Converts an error: a missing name is [`StoreError::NotFound`], unless the whole store is missing.
    fn explain(&self, error: io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::NotFound => self.missing(StoreError::NotFound),
            _ => error.into(),
        }
    }
}

/// Renames a file without replacing another.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some filesystems do not support this (NFS, older FUSE); linking never replaces a file either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => move_by_link(from, to),
        result => Ok(result?),
    }
}

fn move_by_link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let one = fs::metadata(one)?;
    let other = fs::metadata(other)?;
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Buffers;

    /// Returns `len` bytes with a pattern, in page-aligned memory.
    #[expect(clippy::cast_possible_truncation, reason = "a remainder below 251")]
    fn piece(len: usize) -> Bytes {
        let mut buffer = Buffers::new(len, 0).take();
        buffer.space().iter_mut().enumerate().for_each(|(at, byte)| *byte = (at % 251) as u8);
        buffer.into_bytes(len)
    }

    #[test]
    fn removes_written_pages_from_the_piece() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        File::create(&path).expect("made");
        let works = AtomicBool::new(true);
        let all = piece(MIN_DIRECT_WRITE + 3 * ALIGNMENT + 17);
        let mut rest = all.clone();
        let written = write_direct(&works, &mut None, &path, 8192, &mut rest).expect("written");
        // The filesystem of the tests may not support direct writes.
        if works.load(Relaxed) {
            assert_eq!(written, MIN_DIRECT_WRITE + 3 * ALIGNMENT);
            assert_eq!(std::fs::read(&path).expect("read")[8192..], all[..written]);
        }
        assert_eq!(rest, all[written..]);
    }

    #[test]
    fn leaves_short_or_unaligned_pieces() {
        let dir = tempfile::tempdir().expect("a directory");
        let works = AtomicBool::new(true);
        let missing = dir.path().join("missing");
        for (offset, from, len) in [
            (0, 0, MIN_DIRECT_WRITE - 1),
            (1, 0, MIN_DIRECT_WRITE),
            (4095, 0, MIN_DIRECT_WRITE),
            (0, 1, MIN_DIRECT_WRITE),
        ] {
            let all = piece(from + len).slice(from..);
            let mut rest = all.clone();
            assert_eq!(write_direct(&works, &mut None, &missing, offset, &mut rest).expect("left"), 0);
            assert_eq!(rest, all);
        }
        write_direct(&works, &mut None, &missing, 0, &mut piece(MIN_DIRECT_WRITE))
            .expect_err("there is no such file");
    }

    #[test]
    fn moving_by_link_never_replaces() {
        let dir = tempfile::tempdir().expect("a directory");
        let from = dir.path().join("from");
        let to = dir.path().join("to");
        fs::write(&from, "new").expect("written");
        fs::write(&to, "old").expect("written");
        let error = move_by_link(&from, &to).expect_err("exists");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&to).expect("removed");
        move_by_link(&from, &to).expect("moved");
        assert!(!from.exists());
        assert_eq!(fs::read(&to).expect("there"), b"new");
    }
}
