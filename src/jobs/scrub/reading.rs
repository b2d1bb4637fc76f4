//! A blob that is being read, bite by bite.

use crate::jobs::hashing::update;
use crate::jobs::verdict::Verdict;
use crate::metadata::StoredBlob;
use crate::oci::Hasher;
use crate::store::{BlobStore, StoreError};

/// A blob that is being read.
pub(super) struct Reading {
    /// Which.
    pub(super) blob: StoredBlob,
    /// It could not be read the last time.
    pub(super) again: bool,
    offset: u64,
    hasher: Hasher,
    /// What comes before was read by an earlier process.
    continued: bool,
}

/// How far reading has come.
pub(super) enum Bite {
    /// There is more of it.
    Part(Box<Reading>),
    /// To its end.
    Whole(StoredBlob, Verdict),
}

impl Reading {
    /// From the beginning.
    pub(super) fn new(blob: StoredBlob) -> Self {
        let hasher = Hasher::new(blob.key.digest.algorithm());
        Self { blob, again: false, offset: 0, hasher, continued: false }
    }

    /// From the beginning, after it could not be read the last time.
    pub(super) fn again(blob: StoredBlob) -> Self {
        Self { again: true, ..Self::new(blob) }
    }

    /// From where an earlier process was, or from the beginning if that makes no sense.
    pub(super) fn resume(blob: StoredBlob, offset: u64, hash_state: &[u8]) -> Self {
        match Hasher::restore(blob.key.digest.algorithm(), hash_state) {
            Ok(hasher) if offset <= blob.size => Self { blob, again: false, offset, hasher, continued: true },
            _ => Self::new(blob),
        }
    }

    /// How far it has come, and the hash state there.
    pub(super) fn state(&self) -> (u64, Vec<u8>) {
        (self.offset, self.hasher.save())
    }

    /// Reads up to `most` bytes more. Tells how many it read.
    ///
    /// # Errors
    /// Those of the store as a whole.
    pub(super) async fn bite(mut self, store: &dyn BlobStore, most: u64) -> Result<(Bite, u64), StoreError> {
        let end = self.offset.saturating_add(most).min(self.blob.size);
        let read = end - self.offset;
        let bytes = match store.inspect(&self.blob.key, self.blob.size, self.offset..end).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let verdict = Verdict::of(&self.blob.key, Err(error))?;
                return Ok((Bite::Whole(self.blob, verdict), 0));
            }
        };
        self.hasher = update(self.hasher, bytes).await?.0;
        self.offset = end;
        if end < self.blob.size {
            return Ok((Bite::Part(Box::new(self)), read));
        }
        let verdict = Verdict::of(&self.blob.key, Ok(self.hasher.finish()))?;
        if self.continued && !matches!(verdict, Verdict::Sound) {
            // What was noted of its beginning may be what is wrong.
            return Ok((Bite::Part(Box::new(Self { again: self.again, ..Self::new(self.blob) })), read));
        }
        Ok((Bite::Whole(self.blob, verdict), read))
    }
}
