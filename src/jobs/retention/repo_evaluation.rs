//! Evaluates the policies for one repository, within the memory budget. For rules that need details the database does
//! not record, it reads image configs.

use std::sync::Arc;

use super::plan::RepoRows;
use crate::clock::Timestamp;
use crate::memory::{Holder, Purpose};
use crate::metadata::{LoadedSnapshot, MAX_SNAPSHOT_DETAILS, RepositoryEntry, SnapshotQuery};
use crate::oci::{ImageDetails, RepoName};
use crate::registry::{Access, Registry, ServiceError};
use crate::retention::{CompiledPolicies, ManifestFacts, Needs, RepoSnapshot};
use crate::scheduling::run_blocking_with;

/// The memory a tag and a manifest take during an evaluation: in the snapshot, the graph and the decisions.
const TAG_BYTES: u64 = 600;
const MANIFEST_BYTES: u64 = 1200;

/// The memory of a label, an annotation or the platforms of a manifest, if a rule needs it.
const DETAIL_BYTES: u64 = 128;

/// The evaluation of one repository.
pub(super) struct RepoEvaluation {
    pub(super) registry: Arc<Registry>,
    pub(super) policies: Arc<CompiledPolicies>,
    pub(super) repo: RepoName,
    pub(super) now: Timestamp,
    pub(super) assumed: Assumptions,
}

/// What an evaluation assumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Assumptions {
    /// The store is nearly full.
    pub(super) pressure: bool,
    /// What was adopted is released.
    pub(super) released: bool,
}

impl RepoEvaluation {
    /// Evaluates the repository. Returns `None` if it does not exist or is empty.
    pub(super) async fn run(self) -> Result<Option<RepoRows>, ServiceError> {
        let Self { registry, policies, repo, now, assumed: Assumptions { pressure, released } } = self;
        let metadata = registry.metadata();
        let Some(entry) = metadata.repository_entry(&repo).await? else {
            return Ok(None);
        };
        let query = SnapshotQuery {
            past: policies.history_depth(&repo, pressure),
            needs: policies.needs(&repo, pressure),
        };
        let bytes = estimate_bytes(&entry, &query.needs);
        let memory = registry.memory().reserve(Holder::Authenticated, Purpose::Snapshots, bytes).await?;
        let Some(loaded) = metadata.retention_snapshot(&repo, &query).await? else {
            return Ok(None);
        };
        let mut snapshot = read_missing(&registry, loaded, &query.needs).await;
        let evaluate = move || {
            if released {
                snapshot.manifests.iter_mut().for_each(|manifest| manifest.held = false);
            }
            snapshot.inherit_details();
            RepoRows::evaluate(snapshot, &policies, now, pressure)
        };
        let (mut rows, mut memory) = run_blocking_with(memory, evaluate).await?;
        memory.shrink_to(rows.weight());
        rows.memory = Some(memory);
        Ok(Some(rows))
    }
}

fn estimate_bytes(entry: &RepositoryEntry, needs: &Needs) -> usize {
    let fields = usize::from(needs.platforms) + needs.labels.len() + needs.annotations.len();
    let details = (fields as u64).saturating_mul(DETAIL_BYTES);
    let tags = entry.tags.saturating_mul(TAG_BYTES);
    let manifests = entry.manifests.saturating_mul(MANIFEST_BYTES.saturating_add(details));
    usize::try_from(tags.saturating_add(manifests)).unwrap_or(usize::MAX)
}

/// Completes a snapshot from the configs themselves. Details that can't be read stay unknown, so that
/// rules keep the image.
async fn read_missing(registry: &Arc<Registry>, loaded: LoadedSnapshot, needs: &Needs) -> RepoSnapshot {
    let LoadedSnapshot { mut snapshot, unread } = loaded;
    let repository = registry.repository(snapshot.repo.clone(), Access { push: false });
    let labels = Arc::new(needs.labels.clone());
    let mut bytes = 0;
    for config in unread {
        let Some(details) = repository.details_for_rules(&config.digest, &labels).await else {
            continue;
        };
        bytes += weight(&details) * config.manifests.len();
        if bytes > MAX_SNAPSHOT_DETAILS {
            let repository = &snapshot.repo;
            tracing::warn!(%repository, "too many labels to evaluate all images; keeping the rest");
            break;
        }
        for place in config.manifests {
            if let Some(facts) = snapshot.manifests.get_mut(place) {
                complete(facts, &details);
            }
        }
    }
    snapshot
}

/// Fills in the details that are unknown.
fn complete(facts: &mut ManifestFacts, details: &ImageDetails) {
    facts.platforms = facts.platforms.take().or_else(|| details.platforms.clone());
    facts.labels = facts.labels.take().or_else(|| details.labels.clone());
}

fn weight(details: &ImageDetails) -> usize {
    let labels = details.labels.iter().flatten().map(|(key, value)| key.len() + value.len());
    let platforms = details.platforms.iter().flatten().map(String::len);
    labels.chain(platforms).sum()
}
