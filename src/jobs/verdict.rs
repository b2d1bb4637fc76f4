//! What reading a blob to its end tells about it.

use std::io;

use super::fsck::ProblemKind;
use crate::oci::{BlobKey, Digest};
use crate::store::StoreError;

/// What reading a blob told.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Its bytes are its own.
    Sound,
    /// They are not, or not there; with what is wrong.
    Bad(ProblemKind, String),
    /// Nobody knows: they could not be read.
    Unreadable(io::Error),
}

impl Verdict {
    /// What `read`, the digest of all bytes at `key`, tells.
    ///
    /// # Errors
    /// Those of the store as a whole, which tell nothing about the blob.
    pub(super) fn of(key: &BlobKey, read: Result<Digest, StoreError>) -> Result<Self, StoreError> {
        Ok(match read {
            Ok(digest) if digest == key.digest => Self::Sound,
            Ok(digest) => Self::Bad(ProblemKind::DamagedBlob, format!("its bytes hash to {digest}")),
            Err(StoreError::NotFound) => {
                Self::Bad(ProblemKind::MissingBlob, "its bytes are not there".into())
            }
            Err(StoreError::Damaged(why)) => {
                // Whoever reports this names the blob already.
                let why = why.trim_start_matches(key.digest.as_str()).trim_start().to_owned();
                Self::Bad(ProblemKind::DamagedBlob, why)
            }
            Err(StoreError::Io(error)) => Self::Unreadable(error),
            Err(error) => return Err(error),
        })
    }
}
