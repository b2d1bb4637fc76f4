//! The pure protocol of the OCI distribution spec and of the Docker registry API v2: types that cannot
//! hold a wrong value, and the grammar of paths, ranges and errors. No I/O, no HTTP library, no SQL.

mod digest;
mod hasher;
mod name;
mod reference;
mod upload_id;

pub use digest::{Algorithm, Digest, InvalidDigest};
pub use hasher::{Hasher, InvalidHashState};
pub use name::{InvalidName, RepoName};
pub use reference::{InvalidReference, InvalidTag, Reference, Tag};
pub use upload_id::UploadId;

/// Stand-ins until the branch that has them is merged.
mod stub {
    /// A media type.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct MediaType(pub String);

    /// Not a manifest.
    #[derive(Debug, thiserror::Error)]
    #[error("invalid manifest")]
    pub struct InvalidManifest;
}
pub use stub::{InvalidManifest, MediaType};
