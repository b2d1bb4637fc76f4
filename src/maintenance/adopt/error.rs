//! Why an adoption failed.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use thiserror::Error;

use crate::distribution::TreeError;
use crate::metadata::MetadataError;
use crate::registry::ServiceError;
use crate::store::{self, StoreError};

/// Why an adoption failed. It can be run again.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// The tree can't be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// This process may not link the files of the old registry: `fs.protected_hardlinks` allows it to their owner and to
    /// root only.
    #[error(
        "{} belongs to user {owner}, and this process runs as user {user}: Linux lets only the owner and root link or \
         read it. Run the command as root (`docker run --user 0`, or `docker compose run --rm --user 0`)",
        path.display()
    )]
    NotPermitted {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user of this process.
        user: u32,
        /// The cause.
        #[source]
        error: store::AdoptError,
    },
    /// The tree is on another filesystem than the data directory.
    #[error(
        "{} is on another filesystem than the data directory, so that its files can't be shared: choose a data \
         directory beside it (--data), or copy them with --how copy",
        .0.display()
    )]
    OtherFilesystem(PathBuf),
    /// A file can't be brought into the store.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        error: store::AdoptError,
    },
    /// The tree is the cache of a pull-through registry.
    #[error("{} is the cache of a registry that mirrors another one, so that it holds no images of its own", .0.display())]
    Cache(PathBuf),
    /// Another tree was adopted and not finished.
    #[error("the adoption of {} is not finished: run `orlop adopt {} --finish` first", .0.display(), .0.display())]
    Another(PathBuf),
    /// The registry or a store failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl AdoptError {
    /// The error of a file of the tree.
    pub(super) fn of_file(path: PathBuf, error: store::AdoptError) -> Self {
        match error {
            store::AdoptError::NotPermitted(_) | store::AdoptError::AccessDenied(_) => {
                let owner = std::fs::symlink_metadata(&path).map_or(0, |found| found.uid());
                Self::NotPermitted { path, owner, user: rustix::process::geteuid().as_raw(), error }
            }
            store::AdoptError::OtherFilesystem(_) => Self::OtherFilesystem(path),
            store::AdoptError::Store(error) => error.into(),
            error => Self::File { path, error },
        }
    }
}

impl From<MetadataError> for AdoptError {
    fn from(error: MetadataError) -> Self {
        Self::Service(error.into())
    }
}

impl From<StoreError> for AdoptError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}
