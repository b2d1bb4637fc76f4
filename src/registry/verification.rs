//! Verifies adopted blobs. Their files come from another registry's tree and were recorded by their size, so that their
//! content may be damaged.
//!
//! A pull is served at once: its client checks the digest. To a client that pushes, a blob exists only once its content
//! was hashed here, because the push would rely on it. The request waits for that, and after a while the blob counts as
//! absent, so that the client uploads it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use super::verifications::{CONCURRENT_VERIFICATIONS, Verification};
use super::{Registry, ServiceError};
use crate::errors::Chain;
use crate::metadata::UnverifiedBlob;
use crate::oci::{BlobKey, Digest, Hasher, RepoName};
use crate::store::hashing::update;
use crate::store::{BlobStore, StoreError};

/// How long a request waits for the verification of all its blobs.
pub const MAX_VERIFICATION_WAIT: Duration = Duration::from_secs(10);

/// The number of bytes that are read at once.
const CHUNK_BYTES: u64 = 1 << 20;

impl Registry {
    /// Hashes a blob and records the result. Callers for the same blob share one verification, which runs to its end even
    /// if all of them go away.
    pub async fn verify(self: &Arc<Self>, blob: &UnverifiedBlob) -> Verification {
        let mut running = self.join_verification(blob);
        let outcome = running.wait_for(Option::is_some).await;
        outcome.ok().and_then(|outcome| *outcome).unwrap_or(Verification::Unreadable)
    }

    fn join_verification(self: &Arc<Self>, blob: &UnverifiedBlob) -> watch::Receiver<Option<Verification>> {
        let mut running = self.verifications.running.lock();
        // The channel of a task that panicked is closed.
        if let Some(receiver) = running.get(&blob.key).filter(|receiver| receiver.has_changed().is_ok()) {
            return receiver.clone();
        }
        let (sender, receiver) = watch::channel(None);
        running.insert(blob.key.clone(), receiver.clone());
        let registry = Arc::clone(self);
        let blob = blob.clone();
        tokio::spawn(async move {
            let outcome = registry.verify_now(&blob).await.unwrap_or_else(|error| {
                let error = Chain(&error);
                tracing::error!(digest = %blob.key.digest, %error, "could not verify an adopted blob");
                Verification::Unreadable
            });
            registry.verifications.running.lock().remove(&blob.key);
            sender.send_replace(Some(outcome));
        });
        receiver
    }

    async fn verify_now(&self, blob: &UnverifiedBlob) -> Result<Verification, ServiceError> {
        let _permit = self.verifications.permits.acquire().await;
        let key = &blob.key;
        // It may have been verified or pushed while this waited.
        match self.metadata.stored_blob(&key.digest).await?.filter(|stored| stored.key == *key) {
            None => return Ok(Verification::Superseded),
            Some(stored) if stored.damaged => return Ok(Verification::Damaged),
            Some(stored) if !stored.unverified => return Ok(Verification::Verified),
            Some(_) => {}
        }
        let reason = match hash(self.blobs.as_ref(), key, blob.size).await {
            Ok(actual) if actual == key.digest => {
                let is_current = self.metadata.mark_verified(key).await?;
                return Ok(if is_current { Verification::Verified } else { Verification::Superseded });
            }
            Ok(actual) => format!("its bytes hash to {actual}"),
            Err(error @ (StoreError::NotFound | StoreError::Damaged(_))) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        self.quarantine(key, &reason).await?;
        Ok(Verification::Damaged)
    }

    /// Verifies those of these blobs that were not hashed yet, of those that `repo` serves or, without one, that are
    /// stored. Waits up to [`MAX_VERIFICATION_WAIT`]. Returns whether all of them are known to be sound.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub(super) async fn verify_for_push(
        self: &Arc<Self>,
        repo: Option<&RepoName>,
        digests: &[Digest],
    ) -> Result<bool, ServiceError> {
        let blobs = self.metadata.unverified_among(repo, digests).await?;
        if blobs.is_empty() {
            return Ok(true);
        }
        // A request starts only a few at once, however many blobs it names.
        let outcomes = stream::iter(blobs)
            .map(|blob| {
                let registry = Arc::clone(self);
                async move { registry.verify(&blob).await }
            })
            .buffer_unordered(CONCURRENT_VERIFICATIONS)
            .fold(true, |sound, outcome| async move { sound && outcome == Verification::Verified });
        Ok(tokio::time::timeout(MAX_VERIFICATION_WAIT, outcomes).await.unwrap_or(false))
    }
}

/// Hashes the content of a blob around the caches.
async fn hash(store: &dyn BlobStore, key: &BlobKey, size: u64) -> Result<Digest, StoreError> {
    let mut hasher = Hasher::new(key.digest.algorithm());
    let mut offset = 0_u64;
    loop {
        let end = offset.saturating_add(CHUNK_BYTES).min(size);
        // An empty blob is read once too: its file must exist.
        hasher = update(hasher, store.inspect(key, size, offset..end).await?).await?.0;
        if end == size {
            return Ok(hasher.finish());
        }
        offset = end;
    }
}
