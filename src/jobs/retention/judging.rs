//! Judging one repository, within the memory budget.

use std::sync::Arc;

use super::details;
use super::plan::RepoRows;
use crate::clock::Timestamp;
use crate::memory::{Holder, Purpose};
use crate::metadata::{RepositoryEntry, SnapshotQuery};
use crate::oci::RepoName;
use crate::registry::{Registry, ServiceError};
use crate::retention::{Compiled, Needs};

/// Bytes that a tag and a manifest take while they are judged: in the snapshot, the graph and the decisions.
const TAG_BYTES: u64 = 600;
const MANIFEST_BYTES: u64 = 1200;

/// Bytes that a label, an annotation or the platforms of a manifest take, where a rule asks for them.
const DETAIL_BYTES: u64 = 128;

/// A repository that is to be judged.
pub(super) struct Judging {
    pub(super) registry: Arc<Registry>,
    pub(super) policies: Arc<Compiled>,
    pub(super) repo: RepoName,
    pub(super) now: Timestamp,
    pub(super) pressure: bool,
}

impl Judging {
    /// Judges it. `None` if it is not there, or empty.
    pub(super) async fn run(self) -> Result<Option<RepoRows>, ServiceError> {
        let Self { registry, policies, repo, now, pressure } = self;
        let metadata = registry.metadata();
        let Some(entry) = metadata.repository_entry(&repo).await? else {
            return Ok(None);
        };
        let query = SnapshotQuery {
            past: policies.history_depth(&repo, pressure),
            needs: policies.needs(&repo, pressure),
        };
        let bytes = bytes_of(&entry, &query.needs);
        let mut held = registry.memory().reserve(Holder::Authenticated, Purpose::Snapshots, bytes).await?;
        let Some(loaded) = metadata.retention_snapshot(&repo, &query).await? else {
            return Ok(None);
        };
        let mut snapshot = details::read_missing(&registry, loaded, &query.needs).await;
        let judge = move || {
            snapshot.inherit_details();
            RepoRows::judge(snapshot, &policies, now, pressure)
        };
        let judged = tokio::task::spawn_blocking(judge).await;
        let mut rows = judged.map_err(|error| ServiceError::Failed(error.to_string()))?;
        held.shrink_to(rows.weight());
        rows.held = Some(held);
        Ok(Some(rows))
    }
}

fn bytes_of(entry: &RepositoryEntry, needs: &Needs) -> usize {
    let asks = usize::from(needs.platforms) + needs.labels.len() + needs.annotations.len();
    let details = (asks as u64).saturating_mul(DETAIL_BYTES);
    let tags = entry.tags.saturating_mul(TAG_BYTES);
    let manifests = entry.manifests.saturating_mul(MANIFEST_BYTES.saturating_add(details));
    usize::try_from(tags.saturating_add(manifests)).unwrap_or(usize::MAX)
}
