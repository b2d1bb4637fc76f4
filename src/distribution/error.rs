//! What is wrong with a tree: errors that end its reading, and findings that do not.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::oci::Digest;

/// Why a tree can't be read or written.
#[derive(Debug, Error)]
pub enum TreeError {
    /// The directory does not hold the storage of a Distribution registry.
    #[error(
        "{} holds no storage of a Distribution registry, because {missing} is missing there; name the directory \
         that holds `docker`, for example /var/lib/registry",
        path.display()
    )]
    NoTree {
        /// The directory.
        path: PathBuf,
        /// What is missing in it.
        missing: &'static str,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was done with it.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: io::Error,
    },
    /// Something else is where a file or directory has to be written.
    #[error("{} {found}; move it away, and run the command again", path.display())]
    Conflict {
        /// The path.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
}

impl TreeError {
    pub(super) fn reading(path: &Path, error: io::Error) -> Self {
        Self::Io { action: "read", path: path.to_owned(), error }
    }

    pub(super) fn writing(path: &Path, error: io::Error) -> Self {
        Self::Io { action: "write", path: path.to_owned(), error }
    }
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry<T> {
    /// A valid entry.
    Valid(T),
    /// An entry that can't be used.
    Dirt(Finding),
}

/// An entry of a tree that can't be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file or directory.
    pub path: PathBuf,
    /// Why it can't be used.
    pub reason: Reason,
}

impl Finding {
    pub(super) fn new(path: impl Into<PathBuf>, reason: Reason) -> Self {
        Self { path: path.into(), reason }
    }
}

/// Why an entry of a tree can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Reason {
    /// A symbolic link, which is not followed.
    #[error("is a symbolic link, which is not followed")]
    SymbolicLink,
    /// A file where a directory is expected.
    #[error("is not a directory")]
    NotADirectory,
    /// A directory or device where a file is expected.
    #[error("is not a regular file")]
    NotAFile,
    /// The name of a directory is no repository name.
    #[error("its name is not a valid repository name")]
    InvalidName,
    /// The name of a directory is no tag.
    #[error("its name is not a valid tag")]
    InvalidTag,
    /// The name of a directory is no hash algorithm that Orlop supports.
    #[error("its name is not a supported hash algorithm: sha256 or sha512")]
    InvalidAlgorithm,
    /// The name of a directory is no hash of the algorithm, or its blob belongs in another directory.
    #[error("its name is not a hash of this directory")]
    InvalidHash,
    /// A tag without `current/link`.
    #[error("the tag has no current link")]
    NoCurrent,
    /// A blob's directory without `data`.
    #[error("the blob has no data")]
    NoData,
    /// An empty link.
    #[error("the link is empty, perhaps because of a crash")]
    EmptyLink,
    /// A link that is no digest.
    #[error("the link is not a digest, perhaps because a crash truncated it")]
    InvalidLink,
    /// A link in the directory of another digest.
    #[error("the link names another digest than its directory: {0}")]
    OtherDigest(Digest),
}
