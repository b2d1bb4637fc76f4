//! Removes blobs that a backup does not list.

use super::BackupError;
use crate::maintenance::progress::{Counter, Progress, Unit};
use crate::metadata::Metadata;
use crate::store::{BlobStore, FilesystemStore};

/// Discards the remains of interrupted copies.
pub(super) async fn remove_leftovers(copy: &FilesystemStore) -> Result<(), BackupError> {
    // The first page lists all of them.
    for (upload, _) in copy.list(None).await?.uploads {
        copy.discard(upload).await?;
    }
    Ok(())
}

/// Removes the blobs that `metadata` does not list. Returns how many.
pub(super) async fn remove_unlisted(
    metadata: &Metadata,
    copy: &FilesystemStore,
    progress: &dyn Progress,
) -> Result<u64, BackupError> {
    let total = metadata.totals().await?.blobs;
    let mut counter = Counter::new(progress, "removing unlisted blobs", Unit::Items, Some(total));
    let mut removed = 0;
    let mut from: Option<String> = None;
    loop {
        let page = copy.list(from.as_deref()).await?;
        counter.add(page.blobs.len() as u64);
        for (key, _) in page.blobs {
            let listed = metadata.stored_blob(&key.digest).await?;
            if listed.is_none_or(|blob| blob.key != key) {
                copy.remove(&key).await?;
                removed += 1;
            }
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(removed),
        }
    }
}
