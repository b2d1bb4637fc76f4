//! An upload's bytes on their way in.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::stream::FileStream;
use super::{FilesystemStore, Tree, blocking, durable};
use crate::oci::UploadId;
use crate::store::turns::{self, Ticket, Turn, closed};
use crate::store::{ByteStream, StagedBytes, StoreError};

/// Writes up to this many bytes are done on the spot: copying them into the page cache takes less time than
/// handing them to another thread.
const INLINE: usize = 128 << 10;

/// How many pieces one system call takes (`IOV_MAX`).
const MOST_PIECES: usize = 1024;

/// What is open of an upload.
pub(super) struct Staged {
    file: Arc<File>,
    /// The same, past the page cache; opened when it is first needed.
    direct: Option<File>,
    /// Whether the name in the directory is durable.
    named: bool,
}

impl Staged {
    /// The file that was written through: what a failed write-back has to tell, it tells to this one.
    pub(super) fn into_file(self) -> Arc<File> {
        self.file
    }
}

struct Handle {
    tree: Arc<Tree>,
    upload: UploadId,
    ticket: Ticket<Staged>,
}

/// See [`crate::store::BlobStore::stage`].
pub(super) async fn open(
    store: &FilesystemStore,
    upload: UploadId,
    len: u64,
) -> Result<Arc<dyn StagedBytes>, StoreError> {
    let mut turn = store.turns.take(upload).await;
    turn.close(closed::STAGED_ANEW);
    let (turn, file) = if len == 0 {
        // Making a file takes a few microseconds, less than the way to another thread.
        (turn, store.tree.open_staged(upload, 0)?)
    } else {
        store.blocking(move |tree| Ok((turn, tree.open_staged(upload, len)?))).await?
    };
    let staged = Staged { file: Arc::new(file), direct: None, named: len > 0 };
    let ticket = turns::open(turn, staged);
    Ok(Arc::new(Handle { tree: Arc::clone(&store.tree), upload, ticket }))
}

impl Tree {
    fn open_staged(&self, upload: UploadId, len: u64) -> Result<File, StoreError> {
        let path = self.layout.upload(upload);
        let opened = OpenOptions::new().read(true).write(true).create(len == 0).truncate(false).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let gone =
                    StoreError::Damaged(format!("the {len} bytes staged for upload {upload} are gone"));
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
        let turn = self.ticket.turn().await?;
        if pieces.iter().map(Bytes::len).sum::<usize>() <= INLINE {
            return write(&self.tree, self.upload, turn, offset, pieces);
        }
        let (tree, upload) = (Arc::clone(&self.tree), self.upload);
        blocking(move || write(&tree, upload, turn, offset, pieces)).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        let turn = self.ticket.turn().await?;
        let (tree, upload) = (Arc::clone(&self.tree), self.upload);
        blocking(move || sync(&tree, upload, turn)).await
    }

    async fn read(&self, range: Range<u64>) -> Result<ByteStream, StoreError> {
        let mut turn = self.ticket.turn().await?;
        let staged = turn.state().ok_or(StoreError::Closed(closed::FAILED))?;
        let pieces = Arc::clone(&self.tree.pieces);
        Ok(Box::pin(FileStream::new(Arc::clone(&staged.file), range, pieces)))
    }
}

fn write(
    tree: &Tree,
    upload: UploadId,
    mut turn: Turn<Staged>,
    offset: u64,
    mut pieces: Vec<Bytes>,
) -> Result<(), StoreError> {
    let Staged { file, direct, .. } = turn.state().ok_or(StoreError::Closed(closed::FAILED))?;
    let path = tree.layout.upload(upload);
    let direct = match &mut pieces[..] {
        [piece] => tree.direct.write(direct, &path, offset, piece),
        _ => Ok(0),
    };
    let written = direct.and_then(|written| write_all_at(file, offset + written as u64, &pieces));
    if let Err(error) = written {
        turn.close(closed::FAILED);
        return Err(error.into());
    }
    Ok(())
}

fn sync(tree: &Tree, upload: UploadId, mut turn: Turn<Staged>) -> Result<(), StoreError> {
    let staged = turn.state().ok_or(StoreError::Closed(closed::FAILED))?;
    if let Err(error) = sync_named(tree, staged) {
        turn.close(closed::FAILED);
        // The kernel has marked the lost pages clean: nothing would ever notice. If unlinking fails too, the
        // medium is beyond words that could be added here.
        let _ = tree.unlink(&tree.layout.upload(upload));
        return Err(error.into());
    }
    Ok(())
}

/// Syncs the bytes and, the first time, the name.
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
    // Skips what is empty, so that a write of nothing is told from the end of the work.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let batch = &rest[..rest.len().min(MOST_PIECES)];
        let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(file, batch, offset))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
        offset += written as u64;
    }
    Ok(())
}
