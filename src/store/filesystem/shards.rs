//! Which of the blobs' directories exist, so that the common publish needs neither a look nor a sync for it.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::durable;
use crate::oci::{Algorithm, BlobKey};
use crate::store::layout::{self, Layout, SHARDS};

/// The directories that are known to be there durably.
pub(super) struct Shards {
    sha256: [AtomicBool; SHARDS],
    sha512: [AtomicBool; SHARDS],
}

impl Shards {
    /// Knows none yet.
    pub(super) fn unknown() -> Self {
        Self {
            sha256: [const { AtomicBool::new(false) }; SHARDS],
            sha512: [const { AtomicBool::new(false) }; SHARDS],
        }
    }

    /// Makes the directories that every store has, and notes the shards that are there: at most 256 names
    /// an algorithm, whatever the store holds.
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

    /// Makes sure that the directory of `key` is there, durably.
    pub(super) fn ensure(&self, layout: &Layout, key: &BlobKey) -> io::Result<()> {
        let known = self.get(key);
        if !known.load(Ordering::Acquire) {
            durable::create_dir(&layout.shard(key))?;
            known.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Forgets that the directory of `key` is there.
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
