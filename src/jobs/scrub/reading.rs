//! Reading one blob, chunk by chunk.

use crate::maintenance::fsck::Verdict;
use crate::metadata::StoredBlob;
use crate::oci::Hasher;
use crate::store::hashing::update;
use crate::store::{BlobStore, StoreError};

/// A blob that is being read.
pub(super) struct BlobRead {
    /// The blob.
    pub(super) blob: StoredBlob,
    /// Why it is read.
    pub(super) reason: ReadReason,
    offset: u64,
    hasher: Hasher,
    /// Whether an earlier process read the beginning.
    continued: bool,
}

/// Why a blob is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadReason {
    /// It is the next one in the order of a pass.
    InOrder,
    /// An earlier attempt to read it failed.
    Retry,
    /// It was adopted, and its content was not hashed yet.
    Unverified,
}

/// The result of reading a chunk.
pub(super) enum ReadOutcome {
    /// The blob has more content.
    Partial(Box<BlobRead>),
    /// The blob was read to its end, or reading it failed.
    Complete(StoredBlob, Verdict),
}

impl BlobRead {
    /// Starts at the beginning.
    pub(super) fn new(blob: StoredBlob) -> Self {
        let hasher = Hasher::new(blob.key.digest.algorithm());
        Self { blob, reason: ReadReason::InOrder, offset: 0, hasher, continued: false }
    }

    /// Starts at the beginning, after an earlier attempt failed.
    pub(super) fn retry(blob: StoredBlob) -> Self {
        Self { reason: ReadReason::Retry, ..Self::new(blob) }
    }

    /// Starts at the beginning of an adopted blob.
    pub(super) fn verify(blob: StoredBlob) -> Self {
        Self { reason: ReadReason::Unverified, ..Self::new(blob) }
    }

    /// Continues where an earlier process stopped, or starts at the beginning if the saved state is invalid.
    pub(super) fn resume(blob: StoredBlob, offset: u64, hash_state: &[u8]) -> Self {
        match Hasher::restore(blob.key.digest.algorithm(), hash_state) {
            Ok(hasher) if offset <= blob.size => {
                Self { blob, reason: ReadReason::InOrder, offset, hasher, continued: true }
            }
            _ => Self::new(blob),
        }
    }

    /// Returns the current offset and the hash state there.
    pub(super) fn state(&self) -> (u64, Vec<u8>) {
        (self.offset, self.hasher.save())
    }

    /// Reads up to `limit` more bytes. Also returns how many it read.
    ///
    /// # Errors
    /// Fails if the store as a whole fails. If only this blob cannot be read, that is the verdict.
    pub(super) async fn read(
        mut self,
        store: &dyn BlobStore,
        limit: u64,
    ) -> Result<(ReadOutcome, u64), StoreError> {
        let end = self.offset.saturating_add(limit).min(self.blob.size);
        let read = end - self.offset;
        let bytes = match store.inspect(&self.blob.key, self.blob.size, self.offset..end).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let verdict = Verdict::of(&self.blob.key, Err(error))?;
                return Ok((ReadOutcome::Complete(self.blob, verdict), 0));
            }
        };
        self.hasher = update(self.hasher, bytes).await?.0;
        self.offset = end;
        if end < self.blob.size {
            return Ok((ReadOutcome::Partial(Box::new(self)), read));
        }
        let verdict = Verdict::of(&self.blob.key, Ok(self.hasher.finish()))?;
        if self.continued && !matches!(verdict, Verdict::Sound) {
            // The saved hash state of the beginning may be wrong, so the blob is read again completely.
            let restarted = Self { reason: self.reason, ..Self::new(self.blob) };
            return Ok((ReadOutcome::Partial(Box::new(restarted)), read));
        }
        Ok((ReadOutcome::Complete(self.blob, verdict), read))
    }
}
