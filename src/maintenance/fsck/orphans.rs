//! Finds orphans: stored content that no record refers to.
//!
//! A blob's key moves from the intent of an upload or adoption to a blob record, then to the list of blobs pending deletion,
//! and then disappears. The record always changes first: the intent is recorded before the
//! bytes are stored, and the pending deletion before they are removed. So the check lists the content
//! first, and then looks for each key in these three places, in this order. A key that it does not find
//! belongs to an orphan, or to a blob that was deleted meanwhile. A second look at the content distinguishes
//! the two. A key is never reused, so removing an orphan is safe.

use std::collections::HashSet;
use std::sync::Arc;

use super::report::ProblemKind;
use super::{Check, Unit};
use crate::clock::Timestamp;
use crate::metadata::Metadata;
use crate::oci::{BlobKey, UploadId};
use crate::registry::ServiceError;
use crate::store::{BlobStore, StoreError};

/// A limit that is never reached.
const NO_LIMIT: usize = 10_000_000;

impl Check<'_> {
    pub(super) async fn find_orphans(&mut self) -> Result<(), ServiceError> {
        let store = Arc::clone(self.registry.blobs());
        let total = self.registry.metadata().totals().await?.blobs;
        let mut counter = self.counter("looking for orphans", Unit::Items, Some(total));
        let mut from: Option<String> = None;
        loop {
            let page = store.list(from.as_deref()).await?;
            counter.add(page.blobs.len() as u64);
            self.findings.add_unknown(page.unknown);
            self.check_orphan_blobs(store.as_ref(), page.blobs).await?;
            self.check_orphan_uploads(store.as_ref(), page.uploads).await?;
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn check_orphan_blobs(
        &mut self,
        store: &dyn BlobStore,
        seen: Vec<(BlobKey, u64)>,
    ) -> Result<(), ServiceError> {
        for (key, size) in unreferenced(self.registry.metadata().as_ref(), seen).await? {
            match store.read(&key, size, 0..0).await {
                Err(StoreError::NotFound) => continue,
                Ok(_) | Err(StoreError::Damaged(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if self.repair {
                store.remove(&key).await?;
            }
            let subject = format!("{}.{}", key.digest, key.generation);
            let message = format!("{size} bytes that nothing refers to");
            self.findings.add(ProblemKind::OrphanBlob, subject, message, self.repair);
        }
        Ok(())
    }

    /// Reports staged bytes of ended uploads. An upload is recorded before its bytes are staged. So if its
    /// bytes were seen and it has no record now, it has ended. If a second listing still has the bytes,
    /// nothing else will remove them.
    async fn check_orphan_uploads(
        &mut self,
        store: &dyn BlobStore,
        seen: Vec<(UploadId, u64)>,
    ) -> Result<(), ServiceError> {
        if seen.is_empty() {
            return Ok(());
        }
        let open = open_uploads(self.registry.metadata().as_ref()).await?;
        let ended: Vec<_> = seen.into_iter().filter(|(id, _)| !open.contains(id)).collect();
        if ended.is_empty() {
            return Ok(());
        }
        let still: HashSet<_> = staged_uploads(store).await?;
        for (id, size) in ended.into_iter().filter(|(id, _)| still.contains(id)) {
            if self.repair {
                store.discard(id).await?;
            }
            let message = format!("{size} staged bytes of an upload that has ended");
            self.findings.add(ProblemKind::OrphanUpload, id, message, self.repair);
        }
        Ok(())
    }
}

/// Returns the keys of `seen` that no intent of an upload or adoption and no blob record has, and that are not
/// pending deletion.
async fn unreferenced(
    metadata: &Metadata,
    seen: Vec<(BlobKey, u64)>,
) -> Result<Vec<(BlobKey, u64)>, ServiceError> {
    if seen.is_empty() {
        return Ok(seen);
    }
    let intents = metadata.intended_uploads().await?;
    let mut intents: HashSet<BlobKey> = intents.into_iter().map(|(_, key)| key).collect();
    intents.extend(metadata.adopting_keys().await?);
    let mut unreferenced = Vec::new();
    for (key, size) in seen {
        let recorded = metadata.stored_blob(&key.digest).await?;
        let referenced = intents.contains(&key) || recorded.is_some_and(|blob| blob.key == key);
        if !referenced {
            unreferenced.push((key, size));
        }
    }
    if !unreferenced.is_empty() {
        let pending = metadata.pending_deletions(NO_LIMIT).await?;
        let pending: HashSet<BlobKey> = pending.into_iter().map(|(key, _)| key).collect();
        unreferenced.retain(|(key, _)| !pending.contains(key));
    }
    Ok(unreferenced)
}

async fn open_uploads(metadata: &Metadata) -> Result<HashSet<UploadId>, ServiceError> {
    // Every upload is idle since before the end of time.
    let all = metadata.idle_uploads(Timestamp(i64::MAX), NO_LIMIT).await?;
    Ok(all.into_iter().collect())
}

/// Returns the uploads that have staged bytes now.
async fn staged_uploads(store: &dyn BlobStore) -> Result<HashSet<UploadId>, ServiceError> {
    let mut uploads = HashSet::new();
    let mut from: Option<String> = None;
    loop {
        let page = store.list(from.as_deref()).await?;
        uploads.extend(page.uploads.into_iter().map(|(id, _)| id));
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(uploads),
        }
    }
}
