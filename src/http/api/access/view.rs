//! Read operations on the whole registry. Handlers reach them only through the rights in `rights.rs`.

use std::sync::Arc;

use super::Changes;
use crate::clock::Timestamp;
use crate::http::Health;
use crate::jobs::scrub::ScrubReport;
use crate::jobs::{Retention, Scrub};
use crate::metadata::{Metadata, RepositoryStep};
use crate::oci::RepoName;
use crate::registry::{Access, Registry, ServiceError};
use crate::reports::Reports;

/// Everything that handlers read from.
pub(in crate::http::api) struct View {
    pub(super) registry: Arc<Registry>,
    pub(super) reports: Reports,
    pub(super) health: Arc<dyn Health>,
    pub(super) scrub: Arc<Scrub>,
    /// The retention job.
    pub(in crate::http::api) retention: Arc<Retention>,
    pub(super) changes: Changes,
    pub(super) started_at: Timestamp,
}

impl View {
    /// The reports.
    pub(in crate::http::api) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// The metadata store.
    pub(in crate::http::api) fn metadata(&self) -> &Metadata {
        self.registry.metadata().as_ref()
    }

    /// The progress of a repository's last deletion or restoration.
    pub(super) async fn work(&self, name: RepoName) -> Result<Option<RepositoryStep>, ServiceError> {
        self.registry.repository(name, Access { push: false }).work().await
    }

    /// The progress of the scrub.
    pub(in crate::http::api) async fn scrub(&self) -> Result<ScrubReport, ServiceError> {
        self.scrub.report().await
    }
}
