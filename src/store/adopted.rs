//! How files of another registry's tree come into the store, and why they may not.

use std::io;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::StoreError;

/// How a file is brought into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adoption {
    /// As a second name of the same file. The file keeps its owner and mode, and is never written to.
    Hardlink,
    /// As a copy, whose content is hashed.
    Copy,
}

/// A file that is in the store now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdoptedFile {
    /// Its size in bytes.
    pub size: u64,
    /// Its disk usage in bytes.
    pub allocated: u64,
    /// How many names it has, with the new one.
    pub links: u64,
}

/// Why a file was not brought into the store.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// The kernel allows only the owner of a file to link it (`fs.protected_hardlinks`), or the filesystem has no hard
    /// links.
    #[error("the system does not allow this user to create a hard link to the file")]
    NotPermitted(#[source] io::Error),
    /// The file is on another filesystem, which a hard link cannot cross.
    #[error("the file is on another filesystem than the store")]
    OtherFilesystem(#[source] io::Error),
    /// This user may not read the file, or may not search its directory.
    #[error("this user may not read the file")]
    AccessDenied(#[source] io::Error),
    /// The file has as many names as the filesystem allows.
    #[error("the file has too many hard links")]
    TooManyLinks(#[source] io::Error),
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// It is not a regular file.
    #[error("it is not a regular file")]
    NotAFile,
    /// The store failed. [`StoreError::Damaged`] if the content does not match the digest.
    #[error(transparent)]
    Store(#[from] StoreError),
}
