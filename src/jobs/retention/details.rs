//! Reads image configs for rules that need details the database does not record.

use std::sync::Arc;

use crate::metadata::{LoadedSnapshot, MAX_SNAPSHOT_DETAILS};
use crate::oci::ImageDetails;
use crate::registry::{Access, Registry};
use crate::retention::{ManifestFacts, Needs, RepoSnapshot};

/// Completes a snapshot from the configs themselves. Details that can't be read stay unknown, so that
/// rules keep the image.
pub(super) async fn read_missing(
    registry: &Arc<Registry>,
    loaded: LoadedSnapshot,
    needs: &Needs,
) -> RepoSnapshot {
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
