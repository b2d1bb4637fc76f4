//! The release of an adoption: from then on, policies and the budget may remove what was adopted.

use crate::registry::{Registry, ServiceError};

/// How many manifests are released at once.
const BATCH: usize = 1000;

/// Releases what was adopted. Returns `false` if nothing was.
///
/// # Errors
/// Fails if the metadata store fails. It can be run again.
pub async fn release(registry: &Registry) -> Result<bool, ServiceError> {
    let metadata = registry.metadata();
    let Some(mut record) = metadata.adoption().await? else {
        return Ok(false);
    };
    let now = registry.clock().now();
    while metadata.release_held(now, BATCH).await? {
        tokio::task::yield_now().await;
    }
    record.released_at = Some(now);
    metadata.record_adoption(&record).await?;
    Ok(true)
}
