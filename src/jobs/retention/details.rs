//! The configs that rules need to read: those of which more is asked than is recorded.

use std::sync::Arc;

use crate::metadata::{LoadedSnapshot, MAX_SNAPSHOT_DETAILS};
use crate::oci::ImageDetails;
use crate::registry::{Access, Registry};
use crate::retention::{ManifestFacts, Needs, RepoSnapshot};

/// Reads what a snapshot lacks from the configs themselves. What cannot be read stays unknown, so that rules keep it.
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
            tracing::warn!(repository = %snapshot.repo, "too many labels to judge all images by them; the rest is kept");
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

/// Adds what was not known.
fn complete(facts: &mut ManifestFacts, details: &ImageDetails) {
    facts.platforms = facts.platforms.take().or_else(|| details.platforms.clone());
    facts.labels = facts.labels.take().or_else(|| details.labels.clone());
}

fn weight(details: &ImageDetails) -> usize {
    let labels = details.labels.iter().flatten().map(|(key, value)| key.len() + value.len());
    let platforms = details.platforms.iter().flatten().map(String::len);
    labels.chain(platforms).sum()
}
