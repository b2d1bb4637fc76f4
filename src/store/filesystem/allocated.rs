//! Measures the real disk usage: whole blocks, nothing for holes, and the directories themselves.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Tree;
use crate::oci::Algorithm;
use crate::store::StoreError;
use crate::store::layout::{self, SHARDS};

/// The unit in which the system counts blocks, whatever the filesystem's block size is.
const BLOCK: u64 = 512;

impl Tree {
    /// Returns the disk usage of one file.
    pub(super) fn allocated(&self, path: impl AsRef<Path>) -> Result<u64, StoreError> {
        match blocks(path.as_ref())? {
            Some(bytes) => Ok(bytes),
            None => Err(self.missing(StoreError::NotFound)),
        }
    }

    /// Returns the disk usage of the directories. Some grow with the names in them and never shrink. There are at most
    /// 515, however large the store is.
    pub(super) fn directories(&self) -> Result<u64, StoreError> {
        let mut bytes = blocks(&self.layout.blobs())?.unwrap_or(0);
        for algorithm in Algorithm::ALL {
            let path = self.layout.algorithm(algorithm);
            bytes += blocks(&path)?.unwrap_or(0);
            for shard in 0..SHARDS {
                bytes += blocks(&path.join(layout::shard_name(shard)))?.unwrap_or(0);
            }
        }
        Ok(bytes)
    }
}

/// Returns the disk usage of a name, if it exists.
fn blocks(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.blocks() * BLOCK)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
