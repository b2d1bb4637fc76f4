//! Bytes that nothing names.
//!
//! A blob's key goes from an upload's intent to a record, from there to the doomed list, and then is gone;
//! each is written down before the bytes follow. So whoever has seen the bytes and then looks in this order
//! finds the key, unless it is gone or an orphan; and a last look at the bytes tells these two apart. A key
//! is never used again, so removing an orphan can hurt nobody.

use std::collections::HashSet;
use std::sync::Arc;

use super::report::ProblemKind;
use super::{Check, Unit};
use crate::clock::Timestamp;
use crate::metadata::MetadataStore;
use crate::oci::{BlobKey, UploadId};
use crate::registry::ServiceError;
use crate::store::{BlobStore, StoreError};

/// More than there ever are at once.
const ALL: usize = 10_000_000;

impl Check<'_> {
    pub(super) async fn orphans(&mut self) -> Result<(), ServiceError> {
        let store = Arc::clone(self.registry.blobs());
        let total = self.registry.metadata().totals().await?.blobs;
        let mut counter = self.counter("looking for orphans", Unit::Items, Some(total));
        let mut from: Option<String> = None;
        loop {
            let page = store.list(from.as_deref()).await?;
            counter.add(page.blobs.len() as u64);
            self.findings.add_unknown(page.unknown);
            self.orphan_blobs(store.as_ref(), page.blobs).await?;
            self.orphan_uploads(store.as_ref(), page.uploads).await?;
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn orphan_blobs(
        &mut self,
        store: &dyn BlobStore,
        seen: Vec<(BlobKey, u64)>,
    ) -> Result<(), ServiceError> {
        for (key, size) in unnamed(self.registry.metadata().as_ref(), seen).await? {
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

    /// An upload is recorded before its bytes are staged, so one that is not recorded after its bytes were
    /// seen has ended; and if a second walk sees them still, nobody is about to remove them.
    async fn orphan_uploads(
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
        let still: HashSet<_> = staged(store).await?;
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

/// Those of `seen` that neither intent nor record nor the doomed list names.
async fn unnamed(
    metadata: &dyn MetadataStore,
    seen: Vec<(BlobKey, u64)>,
) -> Result<Vec<(BlobKey, u64)>, ServiceError> {
    if seen.is_empty() {
        return Ok(seen);
    }
    let intents = metadata.intended_uploads().await?;
    let intents: HashSet<BlobKey> = intents.into_iter().map(|(_, key)| key).collect();
    let mut unnamed = Vec::new();
    for (key, size) in seen {
        let recorded = metadata.stored_blob(&key.digest).await?;
        let named = intents.contains(&key) || recorded.is_some_and(|blob| blob.key == key);
        if !named {
            unnamed.push((key, size));
        }
    }
    if !unnamed.is_empty() {
        let doomed: HashSet<BlobKey> = metadata.doomed(ALL).await?.into_iter().map(|(key, _)| key).collect();
        unnamed.retain(|(key, _)| !doomed.contains(key));
    }
    Ok(unnamed)
}

async fn open_uploads(metadata: &dyn MetadataStore) -> Result<HashSet<UploadId>, ServiceError> {
    let all = metadata.idle_uploads(Timestamp(i64::MAX), ALL).await?;
    Ok(all.into_iter().collect())
}

/// The uploads that have staged bytes now.
async fn staged(store: &dyn BlobStore) -> Result<HashSet<UploadId>, ServiceError> {
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
