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
