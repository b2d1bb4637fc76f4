//! The verdict on a blob after its content was read.

use std::io;

use super::report::ProblemKind;
use crate::oci::{BlobKey, Digest};
use crate::store::StoreError;

/// The result of reading a blob to its end.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The content matches the digest.
    Sound,
    /// The content is missing or does not match the digest; the text says how.
    Bad(ProblemKind, String),
    /// The content could not be read, so its state is unknown.
    Unreadable(io::Error),
}

impl Verdict {
    /// Interprets `read`, the digest of the content at `key`.
    ///
    /// # Errors
    /// Fails with errors of the store as a whole, which say nothing about this blob.
    pub(crate) fn of(key: &BlobKey, read: Result<Digest, StoreError>) -> Result<Self, StoreError> {
        Ok(match read {
            Ok(digest) if digest == key.digest => Self::Sound,
            Ok(digest) => Self::Bad(ProblemKind::DamagedBlob, format!("its bytes hash to {digest}")),
            Err(StoreError::NotFound) => Self::Bad(ProblemKind::MissingBlob, "its content is missing".into()),
            Err(StoreError::Damaged(why)) => {
                // The report already names the blob.
                let why = why.trim_start_matches(key.digest.as_str()).trim_start().to_owned();
                Self::Bad(ProblemKind::DamagedBlob, why)
            }
            Err(StoreError::Io(error)) => Self::Unreadable(error),
            Err(error) => return Err(error),
        })
    }
}
