//! The staged bytes of an upload in memory.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::disk::{File, Name};
use super::{Medium, pieces, read};
use crate::oci::UploadId;
use crate::store::upload_locks::{self, HandleLock, UploadGuard, closed};
use crate::store::{ByteStream, StagedBytes, StoreError};

const POWER_CUT: &str = "the power was cut";

/// The open state of an upload.
pub(super) struct Staged {
    file: Arc<File>,
    boot: u64,
}

struct Handle {
    medium: Arc<Medium>,
    upload: UploadId,
    lock: HandleLock<Staged>,
}

pub(super) fn open(
    medium: &Arc<Medium>,
    guard: UploadGuard<Staged>,
    upload: UploadId,
    len: u64,
) -> Result<Arc<dyn StagedBytes>, StoreError> {
    let mut disk = medium.disk();
    let file = match disk.get(&Name::Upload(upload)) {
        Some(file) => file,
        None if len == 0 => {
            disk.insert(Name::Upload(upload), Arc::default());
            disk.get(&Name::Upload(upload)).unwrap_or_default()
        }
        None => {
            return Err(StoreError::Damaged(format!(
                "the {len} bytes staged for upload {upload} are missing"
            )));
        }
    };
    let found = file.len() as u64;
    if found < len {
        return Err(StoreError::Damaged(format!("upload {upload} has {found} of {len} staged bytes")));
    }
    file.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    let lock = upload_locks::open_handle(guard, Staged { file, boot: disk.boots });
    Ok(Arc::new(Handle { medium: Arc::clone(medium), upload, lock }))
}

impl Handle {
    async fn file(&self) -> Result<(UploadGuard<Staged>, Arc<File>), StoreError> {
        self.medium.present()?;
        let mut guard = self.lock.acquire().await?;
        let staged = guard.state().ok_or(StoreError::Closed(closed::FAILED))?;
        if staged.boot != self.medium.disk().boots {
            return Err(StoreError::Closed(POWER_CUT));
        }
        let file = Arc::clone(&staged.file);
        Ok((guard, file))
    }
}

#[async_trait]
impl StagedBytes for Handle {
    async fn write_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        let (_guard, file) = self.file().await?;
        let mut offset = usize::try_from(offset).map_err(io::Error::other)?;
        for piece in pieces {
            file.write(offset, &piece);
            offset += piece.len();
        }
        Ok(())
    }

    async fn sync(&self) -> Result<(), StoreError> {
        let (_guard, file) = self.file().await?;
        file.sync();
        self.medium.disk().sync_name(&Name::Upload(self.upload));
        Ok(())
    }

    async fn read(&self, range: Range<u64>) -> Result<ByteStream, StoreError> {
        let (_guard, file) = self.file().await?;
        read(&file, &range).map(pieces)
    }
}
