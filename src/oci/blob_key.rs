//! The key under which a blob's content is stored and recorded.

use super::{Digest, Generation};

/// The key of a stored blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobKey {
    /// The digest of the content.
    pub digest: Digest,
    /// The upload that the content came from.
    pub generation: Generation,
}
