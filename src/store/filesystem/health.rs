//! Checks whether the store works, and measures its free space.

use std::fs::{self, File};
use std::io::Write;

use super::{Access, Tree};
use crate::store::{Space, StoreError};

impl Tree {
    pub(super) fn space(&self) -> Result<Space, StoreError> {
        let stat = rustix::fs::statvfs(self.layout.root()).map_err(std::io::Error::from)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        // Space reserved for root is not available to the registry.
        Ok(Space { total: bytes(stat.f_blocks), free: bytes(stat.f_bavail) })
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.identity.verify(&self.layout)?;
        match self.access {
            Access::ReadOnly => Ok(()),
            Access::ReadWrite => self.probe(),
        }
    }

    /// Verifies that a write becomes durable.
    fn probe(&self) -> Result<(), StoreError> {
        let path = self.layout.probe();
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(b"probe")?;
            file.sync_all()
        });
        // Removed after a failure as well: an empty probe on a full disk helps no one.
        let removed = fs::remove_file(&path);
        written?;
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
