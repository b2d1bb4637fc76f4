//! Runs the suite on the SQLite implementation, and tests what the suite does not cover.

mod faults;
mod groups;
mod large;
mod lists;
mod many_tags;
mod migration;
mod opening;
mod plans;
mod power_cut;
mod query_cache;
mod random;
pub(super) mod sql_recorder;
mod verify;

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use crate::metadata::suite::Fixture;
use crate::metadata::{Access, Metadata};

/// A temporary folder that is removed when the value is dropped.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn store(&self) -> Metadata {
        Metadata::open(self.path(), Access::ReadWrite).expect("opened")
    }
}

impl Fixture for Folder {
    fn open(&self) -> Arc<Metadata> {
        Arc::new(self.store())
    }
}

crate::metadata_store_suite!(Folder::new());
