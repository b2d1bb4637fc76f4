//! The directory layout of the Distribution registry (`registry:2` and `registry:3`): reads the tree of another
//! registry, and writes one that it can serve.
//!
//! ```text
//! <root>/docker/registry/v2/blobs/<alg>/<first 2 hex>/<hex>/data        layers, configs and manifests
//! <root>/docker/registry/v2/repositories/<name>/_layers/<alg>/<hex>/link
//!       …/_manifests/revisions/<alg>/<hex>/link                         "sha256:<hex>", without a line break
//!       …/_manifests/tags/<tag>/current/link
//!       …/_manifests/tags/<tag>/index/<alg>/<hex>/link                  every digest that the tag ever had
//!       …/_uploads/<uuid>/{data,startedat,hashstates/…}
//! <root>/scheduler-state.json                                           only if the registry is a cache
//! ```
//!
//! Names nest: a directory is a repository if it has `_manifests`, and its other subdirectories may be repositories
//! too.
//!
//! Trees that were in use for years hold dirt: links that a crash truncated, directories that are no repositories. It
//! is reported as a [`Finding`], and the rest is read. Only what cannot be read at all is a [`TreeError`].
//!
//! Reading and writing block, follow no symbolic link below `docker/registry/v2`, and need memory only for the names
//! in one directory at a time.

mod error;
mod layout;
mod link;
mod listing;
mod repositories;
mod repository;
#[cfg(test)]
mod tests;
mod tree;
mod writer;

pub use error::{Entry, Finding, Reason, TreeError};
pub use repositories::Repositories;
pub use repository::{
    LayerLink, Layers, MAX_PAST, RepositoryTree, Revision, Revisions, TaggedRevision, Tags,
};
pub use tree::{Blobs, DistributionTree, FoundBlob};
pub use writer::{BlobPlace, DistributionWriter};
