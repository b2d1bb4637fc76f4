//! What the registry uses, and who of it.

use serde::{Deserialize, Serialize};

use crate::metadata::RepoUsage;
use crate::registry::{Fault, Registry};

/// How many repositories a report shows: more than anybody reads, few enough to hold in memory.
const MOST_REPOSITORIES: usize = 10_000;

/// How many bytes' worth of doomed keys is added up.
const MOST_DOOMED: usize = 100_000;

/// What the registry uses. All sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReport {
    /// Blobs stored.
    pub blobs: u64,
    /// Their bytes, each blob once.
    pub blob_bytes: u64,
    /// Manifests recorded, those in the trash included.
    pub manifests: u64,
    /// Uploads open.
    pub uploads: u64,
    /// Blobs that nothing names any more and whose bytes are about to be removed.
    pub doomed: u64,
    /// Their bytes.
    pub doomed_bytes: u64,
    /// The size of the disk that the blobs are on.
    pub disk_bytes: u64,
    /// How much of it can still be written.
    pub free_bytes: u64,
    /// Each repository, largest first.
    pub repositories: Vec<RepositoryUsage>,
}

/// What one repository uses. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryUsage {
    /// Its name.
    pub name: String,
    /// Tags.
    pub tags: u64,
    /// Manifests, those in the trash included.
    pub manifests: u64,
    /// Blobs that it serves.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of those that no other repository serves: what its removal would free.
    pub exclusive_bytes: u64,
}

impl From<RepoUsage> for RepositoryUsage {
    fn from(usage: RepoUsage) -> Self {
        Self {
            name: usage.repo.to_string(),
            tags: usage.tags,
            manifests: usage.manifests,
            blobs: usage.blobs,
            bytes: usage.bytes,
            exclusive_bytes: usage.exclusive_bytes,
        }
    }
}

/// Adds up what `registry` uses.
///
/// # Errors
/// [`Fault`] when a store failed.
pub async fn usage(registry: &Registry) -> Result<UsageReport, Fault> {
    let metadata = registry.metadata();
    let totals = metadata.totals().await?;
    let doomed = metadata.doomed(MOST_DOOMED).await?;
    let space = registry.blobs().space().await?;
    let repositories = metadata.usage(MOST_REPOSITORIES).await?;
    Ok(UsageReport {
        blobs: totals.blobs,
        blob_bytes: totals.blob_bytes,
        manifests: totals.manifests,
        uploads: totals.uploads,
        doomed: doomed.len() as u64,
        doomed_bytes: doomed.iter().map(|(_, size)| size).sum(),
        disk_bytes: space.total,
        free_bytes: space.free,
        repositories: repositories.into_iter().map(Into::into).collect(),
    })
}
