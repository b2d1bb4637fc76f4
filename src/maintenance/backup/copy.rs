//! Copies blobs from one store to another, and removes those that a backup no longer lists.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::report::{BackupError, BackupReport};
use crate::errors::Chain;
use crate::maintenance::progress::{Counter, Progress, Unit};
use crate::metadata::{Metadata, StoredBlob};
use crate::oci::{Hasher, UploadId};
use crate::registry::ServiceError;
use crate::store::hashing::update;
use crate::store::{BlobStore, Content, FilesystemStore, StagedBytes, StoreError};

/// The number of blobs copied at once, so that their syncs wait for the disk together.
const CONCURRENT_COPIES: usize = 8;

/// The number of blob records fetched at once.
const BLOB_PAGE: usize = 256;

/// The result for one blob.
enum Outcome {
    Present,
    Copied,
    Bad(String),
}

/// Copies every blob that `metadata` lists from one store to the other, unless the other already has it. The report
/// counts what the other has then, and what was copied.
pub(super) async fn copy_blobs(
    metadata: &Metadata,
    from: &Arc<dyn BlobStore>,
    to: &Arc<FilesystemStore>,
    progress: &dyn Progress,
) -> Result<BackupReport, BackupError> {
    let total = metadata.totals().await?.blob_bytes;
    let mut counter = Counter::new(progress, "copying blobs", Unit::Bytes, Some(total));
    let mut done = BackupReport::default();
    let mut after = None;
    loop {
        let page = metadata.blobs_after(after.as_ref(), BLOB_PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(done);
        };
        after = Some(last.key.digest.clone());
        let copies = page.into_iter().map(|blob| copy_if_absent(Arc::clone(from), Arc::clone(to), blob));
        let mut copies = stream::iter(copies).buffer_unordered(CONCURRENT_COPIES);
        while let Some(outcome) = copies.next().await {
            let (blob, outcome) = outcome?;
            counter.add(blob.size);
            done.add(&blob, outcome);
        }
    }
}

impl BackupReport {
    fn add(&mut self, blob: &StoredBlob, outcome: Outcome) {
        match outcome {
            Outcome::Bad(why) => {
                self.problems.push(format!("{}: {why}", blob.key.digest));
                return;
            }
            Outcome::Present => {}
            Outcome::Copied => {
                self.copied += 1;
                self.copied_bytes += blob.size;
            }
        }
        self.blobs += 1;
        self.blob_bytes += blob.size;
    }
}

async fn copy_if_absent(
    from: Arc<dyn BlobStore>,
    to: Arc<FilesystemStore>,
    blob: StoredBlob,
) -> Result<(StoredBlob, Outcome), ServiceError> {
    match to.read(&blob.key, blob.size, 0..0).await {
        Ok(_) => return Ok((blob, Outcome::Present)),
        Err(StoreError::NotFound) => {}
        // The copy lost content on its own disk. It is removed and copied again.
        Err(StoreError::Damaged(_)) => to.remove(&blob.key).await?,
        Err(error) => return Err(error.into()),
    }
    let outcome = match from.read(&blob.key, blob.size, 0..blob.size).await {
        Ok(content) => copy(content, &to, &blob).await?,
        Err(StoreError::NotFound) => Outcome::Bad("its content is missing".into()),
        Err(StoreError::Damaged(why)) => Outcome::Bad(why),
        Err(error) => return Err(error.into()),
    };
    Ok((blob, outcome))
}

async fn copy(content: Content, to: &FilesystemStore, blob: &StoredBlob) -> Result<Outcome, StoreError> {
    let upload = UploadId::random();
    let staged = to.stage(upload, 0).await?;
    let mut draft = Draft { staged, hasher: Hasher::new(blob.key.digest.algorithm()), offset: 0 };
    let mut pieces = content.into_stream();
    while let Some(piece) = pieces.next().await {
        draft = match piece {
            Ok(piece) => draft.append(piece).await?,
            Err(error) => {
                to.discard(upload).await?;
                return Ok(Outcome::Bad(Chain(&error).to_string()));
            }
        };
    }
    let Draft { staged, hasher, .. } = draft;
    let digest = hasher.finish();
    if digest != blob.key.digest {
        to.discard(upload).await?;
        return Ok(Outcome::Bad(format!("its bytes hash to {digest}")));
    }
    staged.sync().await?;
    to.publish(upload, &blob.key).await?;
    Ok(Outcome::Copied)
}

/// A copy in progress.
struct Draft {
    staged: Arc<dyn StagedBytes>,
    hasher: Hasher,
    offset: u64,
}

impl Draft {
    async fn append(self, piece: Bytes) -> Result<Self, StoreError> {
        let Self { staged, hasher, offset } = self;
        let len = piece.len() as u64;
        let (hasher, piece) = update(hasher, piece).await?;
        staged.write_at(offset, vec![piece]).await?;
        Ok(Self { staged, hasher, offset: offset + len })
    }
}

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
