//! The verifications of adopted blobs that are running, so that all who ask for the same blob share one.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::oci::BlobKey;

/// How many blobs are hashed at once.
pub(super) const CONCURRENT_VERIFICATIONS: usize = 2;

/// The result of the verification of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Its content matches its digest.
    Verified,
    /// Its content is missing or does not match its digest. It is quarantined.
    Damaged,
    /// It could not be read, so its state is unknown.
    Unreadable,
    /// It was replaced or removed meanwhile.
    Superseded,
}

/// The verifications that are running.
pub(super) struct Verifications {
    pub(super) running: Mutex<HashMap<BlobKey, watch::Receiver<Option<Verification>>>>,
    pub(super) permits: Semaphore,
}

impl Default for Verifications {
    fn default() -> Self {
        Self { running: Mutex::default(), permits: Semaphore::new(CONCURRENT_VERIFICATIONS) }
    }
}
