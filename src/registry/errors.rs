//! The errors of the use cases, one enum for each kind of operation. Only the `http` module maps them to status codes.

use thiserror::Error;
use tokio::task::JoinError;

use crate::errors::BoxError;
use crate::memory::OutOfMemory;
use crate::metadata::{EdgeKind, MetadataError, OverQuota};
use crate::oci::{Digest, InvalidManifest, RepoName, Tag};
use crate::store::StoreError;

/// A valid request failed on the server. Nothing that was reported to a client has changed.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// The disk is full or nearly so. Pulls and deletes still work.
    #[error("the registry's disk is full: {0}")]
    Full(String),
    /// The registry is read-only.
    #[error("the registry is read-only")]
    ReadOnly,
    /// A quota would be exceeded.
    #[error("{0}")]
    OverQuota(OverQuota),
    /// Too many uploads are in progress.
    #[error("too many uploads are in progress; retry later")]
    Busy,
    /// Not enough memory is left.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// A store or a task failed.
    #[error(transparent)]
    Failed(BoxError),
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full("no space left".into()),
            StoreError::ReadOnly => Self::ReadOnly,
            other => Self::Failed(other.into()),
        }
    }
}

impl From<MetadataError> for ServiceError {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Full => Self::Full("no space left for the metadata".into()),
            MetadataError::ReadOnly => Self::ReadOnly,
            MetadataError::Vanished(_) | MetadataError::Failed(_) => Self::Failed(error.into()),
        }
    }
}

/// A task panicked.
impl From<JoinError> for ServiceError {
    fn from(error: JoinError) -> Self {
        Self::Failed(error.into())
    }
}

/// A client failed to send its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The connection broke before the end of the body.
    #[error("the connection closed before the end of the request body")]
    Disconnected,
    /// No bytes arrived for too long.
    #[error("the request body arrived too slowly")]
    TooSlow,
}

/// A blob could not be read, mounted or listed.
#[derive(Debug, Error)]
pub enum BlobError {
    /// The repository does not serve this blob.
    #[error("blob unknown to the repository")]
    Unknown,
    /// The server failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// An upload request failed.
#[derive(Debug, Error)]
pub enum UploadError {
    /// There is no such upload: it never existed, or it has finished, expired or been cancelled.
    #[error("upload unknown to the registry")]
    Unknown,
    /// The chunk does not start at the upload's offset.
    #[error("the chunk must start at byte {offset}")]
    OutOfOrder {
        /// The upload's offset, in bytes.
        offset: u64,
    },
    /// The length of the chunk does not match its `Content-Range`.
    #[error("the body length does not match its Content-Range")]
    WrongLength {
        /// The upload's offset, in bytes.
        offset: u64,
    },
    /// The content has another digest.
    #[error("the content's digest is {actual}, not {claimed}")]
    WrongDigest {
        /// The digest the client sent.
        claimed: Digest,
        /// The digest of the content.
        actual: Digest,
    },
    /// The blob exceeds the configured maximum size.
    #[error("the blob exceeds the maximum size of {limit} bytes")]
    TooLarge {
        /// The configured maximum, in bytes.
        limit: u64,
    },
    /// Another request has taken over the upload.
    #[error("another request has taken this upload over")]
    TakenOver,
    /// The client's body failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// A manifest was rejected.
#[derive(Debug, Error)]
pub enum PutManifestError {
    /// This registry does not accept it as a manifest.
    #[error(transparent)]
    Invalid(#[from] InvalidManifest),
    /// The content has another digest than it was pushed by.
    #[error("the manifest's digest is {actual}, not {claimed}")]
    WrongDigest {
        /// The digest the client sent.
        claimed: Digest,
        /// The digest of the content.
        actual: Digest,
    },
    /// Content it refers to is absent.
    #[error("the manifest refers to content that is not in the repository")]
    Missing(Vec<(Digest, EdgeKind)>),
    /// An immutable tag points at another manifest.
    #[error("the tag {0} is immutable and points at another manifest")]
    Immutable(Tag),
    /// The server failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// A manifest was not found.
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
    Service(#[from] ServiceError),
}

/// A tag could not be pointed at a manifest.
#[derive(Debug, Error)]
pub enum PointTagError {
    /// The manifest is not in the repository.
    #[error("manifest unknown to the repository")]
    Unknown,
    /// The manifest exists, but would be rejected if it were pushed now.
    #[error(transparent)]
    Put(#[from] PutManifestError),
}

/// Content could not be deleted.
#[derive(Debug, Error)]
pub enum DeleteError {
    /// There is no such content.
    #[error("no such content in the repository")]
    Unknown,
    /// A live manifest refers to it.
    #[error("the manifest {0} refers to it")]
    HeldBy(Digest),
    /// It would remove an immutable tag.
    #[error("the tag {0} is immutable")]
    Immutable(Tag),
    /// The server failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// A restoration failed.
#[derive(Debug, Error)]
pub enum UndoError {
    /// There is nothing to restore: no such tag, or it is not in the trash.
    #[error("there is nothing to restore")]
    Unknown,
    /// The recorded history of the tag does not contain this digest.
    #[error("the history of the tag does not contain this digest")]
    NotInHistory,
    /// The tag exists.
    #[error("the tag is in use and points at {0}")]
    InUse(Digest),
    /// The manifest has been purged.
    #[error("the manifest {0} has been purged")]
    Gone(Digest),
    /// Content the manifest refers to has been removed.
    #[error("content the manifest refers to has been removed")]
    Missing(Vec<(Digest, EdgeKind)>),
    /// The tag is immutable.
    #[error("the tag {0} is immutable")]
    Immutable(Tag),
    /// The server failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// The maximum length of the description of a repository, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 4096;

/// A repository could not be deleted, restored, renamed or described.
#[derive(Debug, Error)]
pub enum RepositoryError {
    /// There is no such repository, or it is empty.
    #[error("repository unknown to the registry, or empty")]
    Unknown,
    /// The new name is in use.
    #[error("the repository {0} exists and is not empty")]
    Occupied(RepoName),
    /// Trash under the new name could no longer be restored there.
    #[error("the trash contains images of {0}; restore them or empty the trash of {0} first")]
    InTrash(RepoName),
    /// The description is too long or no plain text.
    #[error(
        "a description is plain text of at most {MAX_DESCRIPTION_CHARS} characters, without control characters \
         other than line breaks and tabs"
    )]
    Description,
    /// It is being deleted or restored.
    #[error("the repository is being deleted or restored")]
    Busy,
    /// It contains an immutable tag.
    #[error("the tag {0} is immutable")]
    Immutable(Tag),
    /// The server failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

macro_rules! impl_from_store_errors {
    ($($error:ty),*) => {$(
        impl From<StoreError> for $error {
            fn from(error: StoreError) -> Self {
                Self::Service(error.into())
            }
        }

        impl From<OutOfMemory> for $error {
            fn from(error: OutOfMemory) -> Self {
                Self::Service(error.into())
            }
        }

        impl From<MetadataError> for $error {
            fn from(error: MetadataError) -> Self {
                Self::Service(error.into())
            }
        }
    )*};
}

impl_from_store_errors!(
    BlobError,
    UploadError,
    PutManifestError,
    ManifestError,
    DeleteError,
    UndoError,
    RepositoryError
);
