//! The state that the API's handlers share. They reach it only through the rights in `rights.rs`.

use std::sync::Arc;

use http::Extensions;
use serde::{Deserialize, Serialize};

use crate::auth::{AccessControl, Principal};
use crate::clock::Timestamp;
use crate::http::Health;
use crate::http::listen::Peer;
use crate::jobs::scrub::ScrubReport;
use crate::jobs::{Background, BackgroundReport, Collector, Retention, Scrub};
use crate::memory::Holder;
use crate::metadata::{Metadata, RepositoryStep};
use crate::oci::RepoName;
use crate::registry::{Access, Registry, ServiceError};
use crate::reports::Reports;

/// Who may change something through the API in addition to users with the right to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Changes {
    /// Clients of the admin socket.
    #[default]
    Socket,
    /// Anyone who can reach the port, as long as everybody may push and pull. Accounts are excluded.
    Anyone,
}

/// The state that the API's handlers share.
pub struct Api {
    pub(in crate::http) view: View,
    pub(in crate::http) access_control: Arc<AccessControl>,
}

impl Api {
    /// Creates an API over `registry` that counts its uptime from now. The rules of `collector` decide what
    /// may be removed, and when; `changes` says who may change something.
    pub fn new(
        registry: Arc<Registry>,
        collector: Arc<Collector>,
        health: Arc<dyn Health>,
        scrub: Arc<Scrub>,
        retention: Arc<Retention>,
        access_control: Arc<AccessControl>,
        changes: Changes,
    ) -> Self {
        let started_at = registry.clock().now();
        let background = Background::new(
            Arc::clone(registry.metadata()),
            Arc::clone(&collector),
            Arc::clone(&retention),
            Arc::clone(&scrub),
        );
        let reports = Reports::new(Arc::clone(&registry), collector, Arc::clone(&retention));
        let view = View { registry, reports, health, background, scrub, retention, changes, started_at };
        Self { view, access_control }
    }

    /// The share of the memory budget that a request uses.
    pub(in crate::http) fn memory_holder(&self, extensions: &Extensions) -> Holder {
        let is_local = extensions.get::<Peer>().is_some_and(|peer| matches!(peer, Peer::Unix));
        let principal = extensions.get::<Principal>().unwrap_or(&Principal::Anonymous);
        if is_local || self.access_control.is_known(principal) {
            Holder::Authenticated
        } else {
            Holder::Anonymous
        }
    }

    /// The registry.
    pub(in crate::http) fn registry(&self) -> &Arc<Registry> {
        &self.view.registry
    }
}

/// Everything that handlers read from.
pub(in crate::http) struct View {
    pub(in crate::http) registry: Arc<Registry>,
    pub(in crate::http) reports: Reports,
    pub(in crate::http) health: Arc<dyn Health>,
    pub(in crate::http) background: Background,
    pub(in crate::http) scrub: Arc<Scrub>,
    /// The retention job.
    pub(in crate::http) retention: Arc<Retention>,
    pub(in crate::http) changes: Changes,
    pub(in crate::http) started_at: Timestamp,
}

impl View {
    /// The reports.
    pub(in crate::http) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// The metadata store.
    pub(in crate::http) fn metadata(&self) -> &Metadata {
        self.registry.metadata().as_ref()
    }

    /// The progress of a repository's last deletion or restoration.
    pub(in crate::http) async fn work(&self, name: RepoName) -> Result<Option<RepositoryStep>, ServiceError> {
        self.registry.repository(name, Access { push: false }).work().await
    }

    /// The last and next runs of the jobs in the background.
    pub(in crate::http) async fn background(&self) -> Result<BackgroundReport, ServiceError> {
        self.background.report().await
    }

    /// The progress of the scrub.
    pub(in crate::http) async fn scrub(&self) -> Result<ScrubReport, ServiceError> {
        self.scrub.report().await
    }
}
