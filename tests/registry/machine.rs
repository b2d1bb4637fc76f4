//! A machine with a registry whose store and metadata fail on command, and that can lose power.

use std::sync::Arc;
use std::time::Duration;

use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::jobs::{Collector, CollectorSettings};
use orlop::metadata::{Access as MetadataAccess, Metadata};
use orlop::registry::{Access, Registry, Repository, Settings};
use orlop::store::{MemoryStore, faulty as faulty_store};
use tempfile::TempDir;

use crate::kit::{LEASE, TRASH, UNTAGGED};

/// A machine whose store and metadata fail on command.
pub struct Machine {
    pub folder: TempDir,
    pub medium: MemoryStore,
    pub store_faults: faulty_store::Faults,
    pub metadata_faults: orlop::metadata::Faults,
    pub clock: Arc<ManualClock>,
    pub registry: Arc<Registry>,
    pub collector: Collector,
}

impl Machine {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("temporary folder");
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
        let medium = MemoryStore::new();
        let store_faults = faulty_store::Faults::new();
        let metadata_faults = orlop::metadata::Faults::new();
        let (registry, collector) = start(&folder, &medium, &store_faults, &metadata_faults, &clock);
        Self { folder, medium, store_faults, metadata_faults, clock, registry, collector }
    }

    pub fn repo(&self, name: &str) -> Repository {
        self.registry.repository(name.parse().expect("name"), Access { push: true })
    }

    /// Cuts the power and restarts with a store and metadata that work.
    pub async fn power_cut(&mut self) {
        self.medium.power_cut();
        self.store_faults.reset();
        self.metadata_faults.reset();
        self.medium = self.medium.reopened();
        (self.registry, self.collector) =
            start(&self.folder, &self.medium, &self.store_faults, &self.metadata_faults, &self.clock);
        self.registry.recover().await.expect("recovery");
    }
}

fn start(
    folder: &TempDir,
    medium: &MemoryStore,
    store_faults: &faulty_store::Faults,
    metadata_faults: &orlop::metadata::Faults,
    clock: &Arc<ManualClock>,
) -> (Arc<Registry>, Collector) {
    let sqlite = Metadata::open(folder.path(), MetadataAccess::ReadWrite).expect("metadata");
    let blobs = Arc::new(faulty_store::Faulty::new(medium.clone(), store_faults.clone()));
    let metadata = Arc::new(sqlite.with_faults(metadata_faults.clone()));
    let shared: Arc<dyn Clock> = clock.clone();
    let settings = Settings { lease: LEASE, min_free: 0, warn_free: 0, ..Settings::default() };
    let registry = Registry::new(blobs, metadata, shared, settings);
    let rules = CollectorSettings {
        trash: TRASH,
        untagged: Some(UNTAGGED),
        upload_expiry: Duration::from_secs(300),
        batch: 100,
    };
    let collector = Collector::new(Arc::clone(&registry), rules);
    (registry, collector)
}
