//! The adopted blobs that a pass reads before all others, because their content was not hashed yet.

use std::collections::HashSet;

use crate::metadata::{self, Metadata, StoredBlob};
use crate::oci::{BlobKey, Digest};

/// How many of these blobs a pass remembers, so that it does not read them again in their order.
const MAX_REMEMBERED: usize = 100_000;

/// The adopted blobs that are still to be read, in order of their digests.
#[derive(Default)]
pub(super) struct UnverifiedQueue {
    after: Option<Digest>,
    read: HashSet<BlobKey>,
}

impl UnverifiedQueue {
    /// Returns the next blob. A blob that could not be read comes again in the next pass.
    pub(super) async fn next(&mut self, metadata: &Metadata) -> metadata::Result<Option<StoredBlob>> {
        let mut found = metadata.next_unverified(self.after.as_ref(), 1).await?.pop();
        if found.is_none() && self.after.is_some() && self.read.len() < MAX_REMEMBERED {
            // Blobs with smaller digests may have been adopted meanwhile.
            found = metadata.next_unverified(None, 1).await?.pop().filter(|blob| !self.was_read(&blob.key));
        }
        if let Some(blob) = &found {
            self.after = Some(blob.key.digest.clone());
        }
        Ok(found)
    }

    /// Records that a blob was read to its end or found to be unreadable.
    pub(super) fn record_read(&mut self, key: BlobKey) {
        if self.read.len() < MAX_REMEMBERED {
            self.read.insert(key);
        }
    }

    /// Whether this pass has read a blob.
    pub(super) fn was_read(&self, key: &BlobKey) -> bool {
        self.read.contains(key)
    }
}
