//! The end of an adoption: removes the old tree, after a check that the store has everything of it and that every byte
//! is right.

use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::report::Flaw;
use super::{AdoptError, adopt};
use crate::distribution::DistributionTree;
use crate::maintenance::progress::{Counter, Progress, Unit};
use crate::metadata::UnverifiedBlob;
use crate::registry::{Registry, ServiceError, Verification};
use crate::store::Adoption;

/// How many blobs are listed or cleared at once.
const BATCH: usize = 1000;

/// Why the end of an adoption failed.
#[derive(Debug, Error)]
pub enum FinishError {
    /// Nothing was adopted from this tree.
    #[error("nothing was adopted from {}", .0.display())]
    NotAdopted(PathBuf),
    /// The old registry still writes.
    #[error("the old registry still writes ({}): stop it first", .0.display())]
    StillWrites(PathBuf),
    /// The tree could not be taken over or read.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// The tree could not be removed.
    #[error("could not remove {}{hint}", path.display())]
    Remove {
        /// The tree.
        path: PathBuf,
        /// What to do; may be empty.
        hint: &'static str,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// The registry or a store failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishReport {
    /// The blobs that were verified now.
    pub verified: u64,
    /// What only the old tree has. With any, it is kept.
    pub only_there: Vec<Flaw>,
    /// The blobs that are damaged or can't be read. With any, the old tree is kept.
    pub damaged: Vec<String>,
}

impl FinishReport {
    /// Whether the old tree is removed.
    pub fn is_done(&self) -> bool {
        self.only_there.is_empty() && self.damaged.is_empty()
    }
}

/// Verifies what is unverified, and removes the old tree if the store has everything of it.
///
/// # Errors
/// Fails if the old registry still writes, the tree can't be removed, or a store fails. It can be run again.
pub async fn finish(
    registry: &Arc<Registry>,
    path: PathBuf,
    progress: &dyn Progress,
) -> Result<FinishReport, FinishError> {
    let record =
        registry.metadata().adoption().await?.filter(|record| record.path == path.display().to_string());
    let mut record = record.ok_or_else(|| FinishError::NotAdopted(path.clone()))?;
    let mut report = FinishReport::default();
    // Without a tree, an earlier run was interrupted after it removed it.
    if let Some(tree) = DistributionTree::find(&path).filter(|_| !record.tree_removed) {
        let adopted = adopt(registry, &Arc::new(tree), Adoption::Hardlink, progress).await?;
        if let Some(written) = adopted.still_writes {
            return Err(FinishError::StillWrites(written));
        }
        report.only_there = adopted.flaws.into_iter().filter(|flaw| flaw.is_only_there).collect();
        verify_all(registry, progress, &mut report).await?;
        if !report.is_done() {
            return Ok(report);
        }
        record = registry.metadata().adoption().await?.unwrap_or(record);
        remove_tree(&path).await?;
    }
    record.tree_removed = true;
    registry.metadata().record_adoption(&record).await?;
    while registry.metadata().clear_hardlinked(None, BATCH).await? {}
    Ok(report)
}

/// Hashes every blob that is unverified.
async fn verify_all(
    registry: &Arc<Registry>,
    progress: &dyn Progress,
    report: &mut FinishReport,
) -> Result<(), FinishError> {
    let metadata = registry.metadata();
    let total = metadata.adoption_figures().await?.unverified_bytes;
    let mut counter = Counter::new(progress, "verifying blobs", Unit::Bytes, Some(total));
    let mut after = None;
    loop {
        let batch = metadata.next_unverified(after.as_ref(), BATCH).await?;
        let Some(last) = batch.last() else { break };
        after = Some(last.key.digest.clone());
        for blob in batch {
            let blob = UnverifiedBlob { key: blob.key, size: blob.size };
            counter.add(blob.size);
            match registry.verify(&blob).await {
                Verification::Verified => report.verified += 1,
                // It is not quarantined, so that the list below does not have it.
                Verification::Unreadable => report.damaged.push(blob.key.digest.to_string()),
                Verification::Damaged | Verification::Superseded => {}
            }
        }
    }
    let quarantined = metadata.quarantined_blobs(None, BATCH).await?;
    report.damaged.extend(quarantined.items.into_iter().map(|blob| blob.key.digest.to_string()));
    Ok(())
}

/// Removes the directories of the old registry, and those above them if nothing else is in them.
async fn remove_tree(path: &std::path::Path) -> Result<(), FinishError> {
    let tree = path.join("docker/registry/v2");
    let removed = tree.clone();
    let outcome = tokio::task::spawn_blocking(move || {
        match fs::remove_dir_all(&removed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome?,
        }
        for parent in removed.ancestors().skip(1).take(2) {
            // Something else may be in it.
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    });
    outcome.await.map_err(ServiceError::from)?.map_err(|error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => " (run the command as root, in a container with --user 0)",
            _ => "",
        };
        FinishError::Remove { path: tree, hint, error }
    })
}

impl From<crate::metadata::MetadataError> for FinishError {
    fn from(error: crate::metadata::MetadataError) -> Self {
        Self::Service(error.into())
    }
}
