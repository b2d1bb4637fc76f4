//! The paths of the layout.

use std::path::{Path, PathBuf};

use crate::oci::{Digest, RepoName};

/// The directory of everything, below the root.
pub(super) const V2: &str = "docker/registry/v2";

/// The file that only a cache of another registry has.
pub(super) const CACHE_STATE: &str = "scheduler-state.json";

/// The file with a blob's bytes.
pub(super) const DATA: &str = "data";

/// The file that names a digest.
pub(super) const LINK: &str = "link";

/// The directory that makes a directory a repository.
pub(super) const MANIFESTS: &str = "_manifests";

pub(super) fn repositories(root: &Path) -> PathBuf {
    root.join(V2).join("repositories")
}

pub(super) fn repository(root: &Path, name: &RepoName) -> PathBuf {
    repositories(root).join(name.as_str())
}

pub(super) fn blobs(root: &Path) -> PathBuf {
    root.join(V2).join("blobs")
}

/// Returns the directory of a blob.
pub(super) fn blob(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    blobs(root).join(digest.algorithm().name()).join(&hex[..2]).join(hex)
}

pub(super) fn revisions(repository: &Path) -> PathBuf {
    repository.join(MANIFESTS).join("revisions")
}

pub(super) fn tags(repository: &Path) -> PathBuf {
    repository.join(MANIFESTS).join("tags")
}

pub(super) fn layers(repository: &Path) -> PathBuf {
    repository.join("_layers")
}

pub(super) fn uploads(repository: &Path) -> PathBuf {
    repository.join("_uploads")
}

/// Returns the file that names a tag's digest, in the directory of the tag.
pub(super) fn current(tag: &Path) -> PathBuf {
    tag.join("current").join(LINK)
}

/// Returns the directory of the digests that a tag ever had, in the directory of the tag.
pub(super) fn index(tag: &Path) -> PathBuf {
    tag.join("index")
}

/// Returns the link to `digest` among the links in `directory`.
pub(super) fn link(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join(digest.algorithm().name()).join(digest.hex()).join(LINK)
}
