//! `orlop adopt`: takes over the tree of a Distribution registry (`registry:2` or 3) without copying it.
//!
//! The old tree stays as it is, and the old registry can be started again on it. Repository by repository:
//!
//! 1. Blobs become hard links in the store. They are recorded by their size, *unverified*: the scrub hashes them first,
//!    and a push that relies on one has it hashed before (`registry/verification.rs`).
//! 2. Manifests are read, verified and recorded; children before their indexes.
//! 3. Tags follow with their history, in the order of their last change.
//!
//! Each step can be repeated: killed anywhere and run again, the result is the same, and a second run takes what the old
//! registry has got since. What is broken in the old tree is reported and left there. What lacks something is served as
//! the old registry served it.
//!
//! | file | content |
//! | --- | --- |
//! | `walk` | the tree and where it goes |
//! | `repository` | one repository |
//! | `changes` | what is new since the last adoption |
//! | `blobs` | linking blobs, in batches |
//! | `manifests` | reading manifests |
//! | `release` | what policies may remove |
//! | `finish` | removal of the old tree |
//! | `report` | what was taken over, and what is broken |

mod blobs;
mod changes;
mod error;
mod finish;
mod manifests;
mod release;
mod report;
mod repository;
mod walk;

use std::sync::Arc;
use std::time::SystemTime;

use self::repository::RepositoryAdoption;
use self::walk::{Target, Walk, blocking};
use super::progress::{Counter, Progress, Unit};
use crate::distribution::{DistributionTree, TreeError};
use crate::metadata::AdoptionRecord;
use crate::oci::ManifestLimits;
use crate::registry::Registry;
use crate::store::Adoption;

pub use self::error::AdoptError;
pub use self::finish::{FinishError, FinishReport, finish};
pub use self::release::release;
pub use self::report::{AdoptReport, Flaw, FlawKind};

/// Takes over the tree.
///
/// # Errors
/// Fails if the tree can't be read or linked, or a store fails. What was taken over stays.
pub async fn adopt(
    registry: &Arc<Registry>,
    tree: &Arc<DistributionTree>,
    how: Adoption,
    progress: &dyn Progress,
) -> Result<AdoptReport, AdoptError> {
    refuse_cache(tree)?;
    let mut record = begin(registry, tree).await?;
    let target = Target { registry, how, seen_until: record.finished_at };
    let limits = registry.manifest_limits();
    let mut report = take_over(Walk::new(tree, limits, Some(target), progress)).await?;
    record.tree_bytes = report.tree_bytes;
    record.counts = report.summary();
    if report.manifests > 0 {
        // New images are held until an administrator releases them.
        record.released_at = None;
    }
    if report.is_complete() {
        record.finished_at = Some(registry.clock().now());
    }
    registry.metadata().record_adoption(&record).await?;
    report.unverified = registry.metadata().adoption_figures().await?.unverified_blobs;
    Ok(report)
}

/// Fails for a tree whose images belong to another registry.
fn refuse_cache(tree: &DistributionTree) -> Result<(), AdoptError> {
    if tree.is_cache() { Err(AdoptError::Cache(tree.root().to_owned())) } else { Ok(()) }
}

/// Records that the tree is being adopted.
async fn begin(registry: &Registry, tree: &DistributionTree) -> Result<AdoptionRecord, AdoptError> {
    let metadata = registry.metadata();
    let path = tree.root().display().to_string();
    let found = metadata.adoption().await?.filter(|record| !record.tree_removed);
    let record = match found {
        Some(record) if record.path != path => return Err(AdoptError::Another(record.path.into())),
        Some(record) => record,
        None => AdoptionRecord { path, started_at: registry.clock().now(), ..AdoptionRecord::default() },
    };
    metadata.record_adoption(&record).await?;
    metadata.abandon_adopting().await?;
    Ok(record)
}

/// Reports what would be taken over into an empty store. Changes nothing, and needs no store.
///
/// # Errors
/// Fails if the tree can't be read.
pub async fn plan(
    tree: &Arc<DistributionTree>,
    limits: ManifestLimits,
    progress: &dyn Progress,
) -> Result<AdoptReport, AdoptError> {
    refuse_cache(tree)?;
    take_over(Walk::new(tree, limits, None, progress)).await
}

/// Takes over, or reports, everything in the tree.
async fn take_over(walk: Walk<'_>) -> Result<AdoptReport, AdoptError> {
    let began_at = SystemTime::now();
    let mut report = AdoptReport {
        plan: walk.target.is_none(),
        path: walk.tree.root().to_owned(),
        shared: walk.target.is_none_or(|target| target.how == Adoption::Hardlink),
        ..AdoptReport::default()
    };
    let tree = Arc::clone(walk.tree);
    let (repositories, findings) = blocking(move || {
        let mut list = tree.repositories();
        let found = list.by_ref().collect::<Result<Vec<_>, _>>()?;
        Ok((found, list.take_findings()))
    })
    .await?;
    findings.iter().for_each(|finding| report.add_finding(finding));
    let total = Some(repositories.len() as u64);
    let mut counter = Counter::new(walk.progress, "adopting repositories", Unit::Items, total);
    for repository in repositories {
        report.repositories += 1;
        RepositoryAdoption::new(&walk, repository, &mut report).run().await?;
        counter.add(1);
    }
    let tree = Arc::clone(walk.tree);
    let (held, written) = blocking(move || Ok((bytes_of(&tree)?, tree.newest_write(began_at)?))).await?;
    report.tree_bytes = held;
    report.still_writes = written.map(|(path, _)| path);
    Ok(report)
}

/// Returns the size of all blobs of a tree in bytes.
fn bytes_of(tree: &DistributionTree) -> Result<u64, TreeError> {
    tree.blobs().map(|blob| Ok(blob?.len)).sum()
}
