//! A walk through the tree of the old registry, and where everything goes.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::AdoptError;
use crate::clock::Timestamp;
use crate::distribution::{DistributionTree, TreeError};
use crate::maintenance::progress::Progress;
use crate::oci::{Digest, ManifestLimits};
use crate::registry::{Registry, ServiceError};
use crate::store::Adoption;

/// A walk through the tree: with a target, everything is taken over; without, only reported.
pub(super) struct Walk<'a> {
    pub(super) tree: &'a Arc<DistributionTree>,
    pub(super) limits: ManifestLimits,
    pub(super) target: Option<Target<'a>>,
    pub(super) progress: &'a dyn Progress,
    /// The blobs that a plan has counted: repositories share them.
    pub(super) counted: Mutex<HashSet<Digest>>,
}

/// Where everything goes.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) registry: &'a Arc<Registry>,
    pub(super) how: Adoption,
    /// When the last complete adoption ended.
    pub(super) seen_until: Option<Timestamp>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        tree: &'a Arc<DistributionTree>,
        limits: ManifestLimits,
        target: Option<Target<'a>>,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { tree, limits, target, progress, counted: Mutex::default() }
    }

    /// When the last complete adoption ended, if there was one.
    pub(super) fn seen_until(&self) -> Option<Timestamp> {
        self.target?.seen_until
    }
}

/// Reads the tree on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TreeError> + Send + 'static,
) -> Result<T, AdoptError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(ServiceError::from(error).into()),
    }
}
