//! Checks the content of every recorded blob: its length and its digest.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::report::ProblemKind;
use super::verdict::Verdict;
use super::{Check, Unit};
use crate::metadata::{Integrity, StoredBlob};
use crate::registry::{Registry, ServiceError};
use crate::store::hashing::hash_blob;
use crate::store::{BlobStore, StoreError, StoredItem};

/// The number of blobs read at once: enough to keep a disk busy, few enough to leave a server its share.
const CONCURRENT_READS: usize = 4;

/// The number of blob records fetched at once.
const BLOB_PAGE: usize = 256;

/// Appended to the message about a quarantined blob.
const QUARANTINED: &str = "; quarantined until it is pushed again";

impl Check<'_> {
    pub(super) async fn check_blobs(&mut self) -> Result<(), ServiceError> {
        let metadata = Arc::clone(self.registry.metadata());
        let total = metadata.totals().await?.blob_bytes;
        let mut counter = self.counter("reading blobs", Unit::Bytes, Some(total));
        let mut after = None;
        loop {
            let page = metadata.blobs_after(after.as_ref(), BLOB_PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.key.digest.clone());
            let store = Arc::clone(self.registry.blobs());
            let verdicts = page.into_iter().map(|blob| check_content(Arc::clone(&store), blob));
            let mut verdicts = stream::iter(verdicts).buffer_unordered(CONCURRENT_READS);
            while let Some(outcome) = verdicts.next().await {
                let (blob, verdict) = outcome?;
                counter.add(blob.size);
                self.handle_verdict(&blob, verdict).await?;
            }
        }
    }

    async fn handle_verdict(&mut self, blob: &StoredBlob, verdict: Verdict) -> Result<(), ServiceError> {
        self.findings.count_blob(blob.size);
        match verdict {
            Verdict::Sound if !blob.damaged => {
                if self.repair {
                    record_sound(self.registry, blob).await?;
                }
                self.measure(blob).await
            }
            Verdict::Sound => self.unmark(blob).await,
            Verdict::Bad(kind, message) => self.mark(blob, kind, message).await,
            Verdict::Unreadable(error) => {
                self.mark(blob, ProblemKind::UnreadableBlob, error.to_string()).await
            }
        }
    }

    /// Compares a blob's disk usage with the recorded one, unless none is recorded yet.
    async fn measure(&mut self, blob: &StoredBlob) -> Result<(), ServiceError> {
        let allocated = match self.registry.blobs().allocated(StoredItem::Blob(&blob.key)).await {
            Ok(allocated) => allocated,
            // The blob was collected after it was read.
            Err(StoreError::NotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if blob.allocated.is_none_or(|recorded| recorded == allocated) {
            return Ok(());
        }
        if self.repair {
            self.registry.metadata().record_allocated(vec![(blob.key.clone(), allocated)]).await?;
        }
        self.findings.count_misjudged();
        Ok(())
    }

    async fn unmark(&mut self, blob: &StoredBlob) -> Result<(), ServiceError> {
        let repaired = self.repair && self.set(blob, Integrity::Intact).await?;
        let message = "quarantined, but its content is sound";
        self.findings.add(ProblemKind::MarkedBlob, &blob.key.digest, message, repaired);
        Ok(())
    }

    async fn set(&self, blob: &StoredBlob, condition: Integrity) -> Result<bool, ServiceError> {
        let now = self.registry.clock().now();
        Ok(self.registry.metadata().mark_blob(&blob.key, condition, now).await?)
    }

    async fn mark(
        &mut self,
        blob: &StoredBlob,
        kind: ProblemKind,
        message: String,
    ) -> Result<(), ServiceError> {
        let metadata = self.registry.metadata();
        let current = metadata.stored_blob(&blob.key.digest).await?;
        if current.is_none_or(|current| current.key != blob.key) {
            // The blob was collected or repaired while it was read.
            return Ok(());
        }
        // An unreadable blob may be readable later; only content known to be bad is quarantined.
        let quarantine = self.repair && kind != ProblemKind::UnreadableBlob && !blob.damaged;
        let marked = quarantine && self.set(blob, Integrity::Damaged(message.clone())).await?;
        let suffix = if marked || blob.damaged { QUARANTINED } else { "" };
        self.findings.count_quarantined(marked || blob.damaged);
        self.findings.add(kind, &blob.key.digest, format!("{message}{suffix}"), false);
        self.bad.insert(blob.key.digest.clone());
        Ok(())
    }
}

/// Records what reading a sound blob has shown: that an adopted blob is verified, and that no other tree has its file
/// any more.
pub(crate) async fn record_sound(registry: &Registry, blob: &StoredBlob) -> Result<(), ServiceError> {
    if registry.settings().read_only {
        return Ok(());
    }
    if blob.unverified {
        registry.metadata().mark_verified(&blob.key).await?;
    }
    if !blob.hardlinked {
        return Ok(());
    }
    match registry.blobs().links(&blob.key).await {
        Ok(1) => registry.metadata().clear_hardlinked(Some(&blob.key), 1).await.map(drop)?,
        // The blob may have been collected since.
        Ok(_) | Err(StoreError::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn check_content(
    store: Arc<dyn BlobStore>,
    blob: StoredBlob,
) -> Result<(StoredBlob, Verdict), ServiceError> {
    let verdict = Verdict::of(&blob.key, hash_blob(store.as_ref(), &blob.key, blob.size).await)?;
    Ok((blob, verdict))
}
