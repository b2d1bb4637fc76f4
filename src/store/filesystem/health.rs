//! Checks whether the store works, and measures its free space.

use super::{Access, Tree, durable};
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
            Access::ReadWrite => Ok(durable::probe(&self.layout.probe())?),
        }
    }
}
