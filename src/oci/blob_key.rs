//! The key that the bytes are kept under and the facts name them by.

use super::{Digest, Generation};

/// Where a blob's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobKey {
    /// What they hash to.
    pub digest: Digest,
    /// Which upload they came from.
    pub generation: Generation,
}
