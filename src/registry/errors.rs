//! One error enum per kind of operation. The `http` room alone knows which status each becomes.

use thiserror::Error;

use crate::metadata::{EdgeKind, MetadataError, OverQuota};
use crate::oci::{Digest, InvalidManifest};
use crate::store::StoreError;

/// Why the server could not do what was asked rightly. Nothing was changed that a client was told of.
#[derive(Debug, Error)]
pub enum Fault {
    /// The disk is full or nearly so; pulls and deletes go on.
    #[error("the registry's disk is full: {0}")]
    Full(String),
    /// The registry is read-only.
    #[error("the registry is read-only")]
    ReadOnly,
    /// A quota would be passed.
    #[error("{0}")]
    OverQuota(OverQuota),
    /// Too many uploads at once.
    #[error("too many uploads are in progress; try again")]
    Busy,
    /// A store failed.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full("no space left".into()),
            StoreError::ReadOnly => Self::ReadOnly,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<MetadataError> for Fault {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Full => Self::Full("no space left for the metadata".into()),
            MetadataError::ReadOnly => Self::ReadOnly,
            MetadataError::Vanished(_) | MetadataError::Failed(_) => Self::Failed(error.to_string()),
        }
    }
}

/// What a client did wrong with its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The connection broke before the body's end.
    #[error("the request's body ended before its time")]
    Disconnected,
    /// Nothing came for too long.
    #[error("the request's body came too slowly")]
    TooSlow,
}

/// Why a blob could not be read, mounted or listed.
#[derive(Debug, Error)]
pub enum BlobError {
    /// The repository does not serve it.
    #[error("blob unknown to the repository")]
    Unknown,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why an upload did not go on.
#[derive(Debug, Error)]
pub enum UploadError {
    /// There is no such upload: never was, finished, cancelled or expired.
    #[error("upload unknown to the registry")]
    Unknown,
    /// The chunk does not begin where the upload stands.
    #[error("the chunk must begin at byte {offset}")]
    OutOfOrder {
        /// Where the upload stands, in bytes.
        offset: u64,
    },
    /// The chunk's length is not what its `Content-Range` says.
    #[error("the body's length is not what its Content-Range says")]
    WrongLength {
        /// Where the upload stands, in bytes.
        offset: u64,
    },
    /// The bytes hash to something else.
    #[error("the content's digest is {actual}, not {claimed}")]
    WrongDigest {
        /// What the client said.
        claimed: Digest,
        /// What the bytes say.
        actual: Digest,
    },
    /// The blob is larger than the setting allows.
    #[error("a blob may have at most {limit} bytes")]
    TooLarge {
        /// The setting, in bytes.
        limit: u64,
    },
    /// Another request took the upload over.
    #[error("another request has taken this upload over")]
    TakenOver,
    /// The client's body failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a manifest was not accepted.
#[derive(Debug, Error)]
pub enum PutManifestError {
    /// It is no manifest that this registry takes.
    #[error(transparent)]
    Invalid(#[from] InvalidManifest),
    /// It hashes to something else than it was pushed as.
    #[error("the manifest's digest is {actual}, not {claimed}")]
    WrongDigest {
        /// What the client said.
        claimed: Digest,
        /// What the bytes say.
        actual: Digest,
    },
    /// What it refers to is absent.
    #[error("the manifest refers to content that is not in the repository")]
    Missing(Vec<(Digest, EdgeKind)>),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a manifest was not found.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The repository has no such manifest or tag.
    #[error("manifest unknown to the repository")]
    Unknown,
    /// There is no such repository.
    #[error("repository unknown to the registry")]
    NameUnknown,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why something was not deleted.
#[derive(Debug, Error)]
pub enum DeleteError {
    /// There is no such thing.
    #[error("no such content in the repository")]
    Unknown,
    /// A live manifest needs it.
    #[error("the manifest {0} refers to it")]
    HeldBy(Digest),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

macro_rules! faults_from_stores {
    ($($error:ty),*) => {$(
        impl From<StoreError> for $error {
            fn from(error: StoreError) -> Self {
                Self::Fault(error.into())
            }
        }

        impl From<MetadataError> for $error {
            fn from(error: MetadataError) -> Self {
                Self::Fault(error.into())
            }
        }
    )*};
}

faults_from_stores!(BlobError, UploadError, PutManifestError, ManifestError, DeleteError);
