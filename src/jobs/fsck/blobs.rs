//! Every blob that a record names: its bytes, their length and their digest.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::report::ProblemKind;
use super::{Check, Unit};
use crate::jobs::hashing::hash_blob;
use crate::jobs::verdict::Verdict;
use crate::metadata::{Condition, StoredBlob};
use crate::registry::ServiceError;
use crate::store::{BlobStore, Spent, StoreError};

/// How many blobs are read at once: enough to keep a disk busy, few enough to leave a server its share.
const AT_ONCE: usize = 4;

const PAGE: usize = 256;

/// What is added about a blob that is set aside.
const SET_ASIDE: &str = "; set aside until it is pushed again";

impl Check<'_> {
    pub(super) async fn blobs(&mut self) -> Result<(), ServiceError> {
        let metadata = Arc::clone(self.registry.metadata());
        let total = metadata.totals().await?.blob_bytes;
        let mut counter = self.counter("reading blobs", Unit::Bytes, Some(total));
        let mut after = None;
        loop {
            let page = metadata.blobs_after(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.key.digest.clone());
            let store = Arc::clone(self.registry.blobs());
            let judged = page.into_iter().map(|blob| judge(Arc::clone(&store), blob));
            let mut judged = stream::iter(judged).buffer_unordered(AT_ONCE);
            while let Some(outcome) = judged.next().await {
                let (blob, verdict) = outcome?;
                counter.add(blob.size);
                self.note(&blob, verdict).await?;
            }
        }
    }

    async fn note(&mut self, blob: &StoredBlob, verdict: Verdict) -> Result<(), ServiceError> {
        self.findings.count_blob(blob.size);
        match verdict {
            Verdict::Sound if !blob.damaged => self.measure(blob).await,
            Verdict::Sound => self.unmark(blob).await,
            Verdict::Bad(kind, message) => self.mark(blob, kind, message).await,
            Verdict::Unreadable(error) => {
                self.mark(blob, ProblemKind::UnreadableBlob, error.to_string()).await
            }
        }
    }

    /// Compares what a blob takes with what is recorded, unless that is a guess.
    async fn measure(&mut self, blob: &StoredBlob) -> Result<(), ServiceError> {
        let allocated = match self.registry.blobs().allocated(Spent::Blob(&blob.key)).await {
            Ok(allocated) => allocated,
            // Collected since it was read.
            Err(StoreError::NotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if blob.allocated.is_none_or(|recorded| recorded == allocated) {
            return Ok(());
        }
        if self.repair {
            self.registry.metadata().note_allocated(vec![(blob.key.clone(), allocated)]).await?;
        }
        self.findings.count_misjudged();
        Ok(())
    }

    async fn unmark(&mut self, blob: &StoredBlob) -> Result<(), ServiceError> {
        let repaired = self.repair && self.set(blob, Condition::Sound).await?;
        let message = "marked as damaged, but its bytes are sound";
        self.findings.add(ProblemKind::MarkedBlob, &blob.key.digest, message, repaired);
        Ok(())
    }

    async fn set(&self, blob: &StoredBlob, condition: Condition) -> Result<bool, ServiceError> {
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
            // Collected or healed while it was read.
            return Ok(());
        }
        // What could not be read may be readable tomorrow; only what is known to be bad is hidden.
        let hide = self.repair && kind != ProblemKind::UnreadableBlob && !blob.damaged;
        let hidden = hide && self.set(blob, Condition::Damaged(message.clone())).await?;
        let aside = if hidden || blob.damaged { SET_ASIDE } else { "" };
        self.findings.count_set_aside(hidden || blob.damaged);
        self.findings.add(kind, &blob.key.digest, format!("{message}{aside}"), false);
        self.bad.insert(blob.key.digest.clone());
        Ok(())
    }
}

async fn judge(store: Arc<dyn BlobStore>, blob: StoredBlob) -> Result<(StoredBlob, Verdict), ServiceError> {
    let verdict = Verdict::of(&blob.key, hash_blob(store.as_ref(), &blob.key, blob.size).await)?;
    Ok((blob, verdict))
}
