//! One error enum per kind of operation. The `http` room alone knows which status each becomes.

use thiserror::Error;

use crate::memory::OutOfMemory;
use crate::metadata::{EdgeKind, MetadataError, OverQuota};
use crate::oci::{Digest, InvalidManifest, RepoName, Tag};
use crate::store::StoreError;

/// Why the server could not do what was asked rightly. Nothing was changed that a client was told of.
#[derive(Debug, Error)]
pub enum ServiceError {
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
    /// There is no room in memory.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// A store failed.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full("no space left".into()),
            StoreError::ReadOnly => Self::ReadOnly,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<MetadataError> for ServiceError {
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
    Service(#[from] ServiceError),
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
    Service(#[from] ServiceError),
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
    /// An immutable tag points at something else.
    #[error("the tag {0} is immutable and points at another manifest")]
    Immutable(Tag),
    /// The server failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
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
    Service(#[from] ServiceError),
}

/// Why a tag was not pointed at a manifest.
#[derive(Debug, Error)]
pub enum PointTagError {
    /// The manifest is not in the repository.
    #[error("manifest unknown to the repository")]
    Unknown,
    /// It is, but would not be accepted now.
    #[error(transparent)]
    Put(#[from] PutManifestError),
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
    /// An immutable tag would go.
    #[error("the tag {0} is immutable")]
    Immutable(Tag),
    /// The server failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Why something did not come back.
#[derive(Debug, Error)]
pub enum UndoError {
    /// There is nothing to go back to: no such tag, or not in the trash.
    #[error("there is nothing that could be brought back")]
    Unknown,
    /// The tag never pointed there, as far as its history goes back.
    #[error("the tag's history does not have this digest")]
    NotInHistory,
    /// The tag is there.
    #[error("the tag is in use and points at {0}")]
    InUse(Digest),
    /// The manifest is gone for good.
    #[error("the manifest {0} is gone for good")]
    Gone(Digest),
    /// The manifest would not be whole.
    #[error("what the manifest refers to is gone")]
    Missing(Vec<(Digest, EdgeKind)>),
    /// The tag may not be moved.
    #[error("the tag {0} is immutable")]
    Immutable(Tag),
    /// The server failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Why a repository was not deleted, restored or renamed.
#[derive(Debug, Error)]
pub enum RepositoryError {
    /// There is no such repository, or nothing in it.
    #[error("repository unknown to the registry, or empty")]
    Unknown,
    /// The new name is taken.
    #[error("the repository {0} exists and is not empty")]
    Occupied(RepoName),
    /// What is in the trash under the new name could not be brought back there any more.
    #[error("there are deleted images under the name {0}: bring them back, or empty the trash of {0}, first")]
    InTrash(RepoName),
    /// It is being deleted or restored.
    #[error("the repository is being deleted or restored")]
    Busy,
    /// A tag may not go.
    #[error("the tag {0} is immutable")]
    Immutable(Tag),
    /// The server failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

macro_rules! faults_from_stores {
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

faults_from_stores!(
    BlobError,
    UploadError,
    PutManifestError,
    ManifestError,
    DeleteError,
    UndoError,
    RepositoryError
);
