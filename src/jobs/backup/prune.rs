//! Removing from a backup what it does not name.

use super::BackupError;
use crate::jobs::progress::{Counter, Progress, Unit};
use crate::metadata::Maintenance;
use crate::store::{BlobStore, FilesystemStore};

/// Throws away what copies that were cut off left behind.
pub(super) async fn leftovers(copy: &FilesystemStore) -> Result<(), BackupError> {
    // The first page has all of them.
    for (upload, _) in copy.list(None).await?.uploads {
        copy.discard(upload).await?;
    }
    Ok(())
}

/// Removes the blobs that `facts` do not name. Tells how many.
pub(super) async fn unnamed(
    facts: &dyn Maintenance,
    copy: &FilesystemStore,
    progress: &dyn Progress,
) -> Result<u64, BackupError> {
    let total = facts.totals().await?.blobs;
    let mut counter = Counter::new(progress, "removing what is no longer named", Unit::Items, Some(total));
    let mut removed = 0;
    let mut from: Option<String> = None;
    loop {
        let page = copy.list(from.as_deref()).await?;
        counter.add(page.blobs.len() as u64);
        for (key, _) in page.blobs {
            let named = facts.stored_blob(&key.digest).await?;
            if named.is_none_or(|blob| blob.key != key) {
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
