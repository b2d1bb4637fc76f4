//! Remembers which blob directories exist, so that a typical publish need not check or sync them.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::durable;
use crate::oci::{Algorithm, BlobKey};
use crate::store::layout::{self, Layout, SHARDS};

/// The directories known to exist durably.
pub(super) struct Shards {
    sha256: [AtomicBool; SHARDS],
    sha512: [AtomicBool; SHARDS],
}

impl Shards {
    /// Creates a set without known directories.
    pub(super) fn unknown() -> Self {
        Self {
            sha256: [const { AtomicBool::new(false) }; SHARDS],
            sha512: [const { AtomicBool::new(false) }; SHARDS],
        }
    }

    /// Creates the directories every store has, and records the existing shards: at most 256 names per algorithm,
    /// however large the store is.
    pub(super) fn prepare(layout: &Layout) -> io::Result<Self> {
        let shards = Self::unknown();
        durable::create_dir(&layout.uploads())?;
        durable::create_dir(&layout.blobs())?;
        for algorithm in Algorithm::ALL {
            let path = layout.algorithm(algorithm);
            durable::create_dir(&path)?;
            for entry in fs::read_dir(&path)? {
                if let Some(index) = entry?.file_name().to_str().and_then(layout::parse_shard) {
                    shards.of(algorithm)[index].store(true, Ordering::Relaxed);
                }
            }
            durable::sync_dir(&path)?;
        }
        Ok(shards)
    }

    /// Creates the directory of `key` durably, unless it is known to exist.
    pub(super) fn ensure(&self, layout: &Layout, key: &BlobKey) -> io::Result<()> {
        let known = self.get(key);
        if !known.load(Ordering::Acquire) {
            durable::create_dir(&layout.shard(key))?;
            known.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Forgets the directory of `key`, because it does not exist any more.
    pub(super) fn forget(&self, key: &BlobKey) {
        self.get(key).store(false, Ordering::Release);
    }

    fn get(&self, key: &BlobKey) -> &AtomicBool {
        &self.of(key.digest.algorithm())[layout::shard_index(&key.digest)]
    }

    fn of(&self, algorithm: Algorithm) -> &[AtomicBool; SHARDS] {
        match algorithm {
            Algorithm::Sha256 => &self.sha256,
            Algorithm::Sha512 => &self.sha512,
        }
    }
}
