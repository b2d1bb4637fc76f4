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
pub(super) mod sql_recorder;
mod verify;

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use crate::metadata::suite::Fixture;
use crate::metadata::{Access, Metadata};

/// Recomputes all sums, for tests that insert rows without the rules.
const RECOUNT: &str = "
    UPDATE blobs SET links = (SELECT count(*) FROM links l WHERE l.digest = blobs.digest);
    UPDATE repositories SET
        (blobs, bytes, allocated, own_bytes, own_allocated) =
        (SELECT count(*), coalesce(sum(b.size), 0), coalesce(sum(b.allocated), 0),
                coalesce(sum(iif(b.links = 1, b.size, 0)), 0), coalesce(sum(iif(b.links = 1, b.allocated, 0)), 0)
         FROM links l JOIN blobs b ON b.digest = l.digest WHERE l.repo = repositories.id),
        (manifests, manifest_bytes, live, pushed_at, pulled_at) =
        (SELECT count(*), coalesce(sum(m.size), 0), coalesce(sum(m.state = 0), 0), coalesce(max(m.pushed_at), 0),
                coalesce(max(m.pulled_at), 0)
         FROM manifests m WHERE m.repo = repositories.id),
        tags = (SELECT count(*) FROM tags t WHERE t.repo = repositories.id),
        history = (SELECT count(*) FROM tag_history h WHERE h.repo = repositories.id);
    UPDATE totals SET
        (blobs, bytes, allocated) =
        (SELECT count(*), coalesce(sum(size), 0), coalesce(sum(allocated), 0) FROM blobs),
        manifests = (SELECT count(*) FROM manifests);";

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
