//! Whether a push would work.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::filesystem::free_space;
use super::open::Opened;
use super::watch::Watch;
use crate::registry::Registry;

/// How long an answer is good for. Each costs two syncs.
const FRESH: Duration = Duration::from_secs(1);

/// How long the stores may take to prove that they work. A disk that hangs is not ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// Below this many free bytes the database has no room to work in.
const METADATA_FLOOR: u64 = 8 << 20;

/// Whether a push would work, and what there is to say about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether a push would work; in read-only mode, whether a pull would.
    pub ready: bool,
    /// Whether the registry was set to be read-only.
    pub read_only: bool,
    /// Why it is not ready.
    pub problems: Vec<String>,
    /// What will be a problem soon.
    pub warnings: Vec<String>,
    /// Free bytes where the blobs are, if that could be found out.
    pub free_bytes: Option<u64>,
}

/// Answers how things are, at most once a second anew.
pub struct Health {
    opened: Arc<Opened>,
    watch: Arc<Watch>,
    draining: CancellationToken,
    last: Mutex<Option<(Instant, Arc<Readiness>)>>,
}

impl Health {
    /// The health of what was opened, which is over when `draining` is cancelled.
    pub fn new(opened: Arc<Opened>, watch: Arc<Watch>, draining: CancellationToken) -> Self {
        Self { opened, watch, draining, last: Mutex::default() }
    }

    /// How things are.
    pub async fn readiness(&self) -> Arc<Readiness> {
        let mut last = self.last.lock().await;
        if let Some((when, readiness)) = last.as_ref()
            && when.elapsed() < FRESH
            && !self.draining.is_cancelled()
        {
            return Arc::clone(readiness);
        }
        let readiness = Arc::new(self.look().await);
        *last = Some((Instant::now(), Arc::clone(&readiness)));
        readiness
    }

    async fn look(&self) -> Readiness {
        let registry = &self.opened.registry;
        let mut found = Readiness { read_only: registry.settings().read_only, ..Readiness::default() };
        if self.draining.is_cancelled() {
            found.problems.push("the server is ending".into());
        }
        let stores = tokio::time::timeout(PATIENCE, look_at_stores(registry, &mut found));
        if stores.await.is_err() {
            found.problems.push("the stores took too long to answer".into());
        }
        look_at_metadata_disk(&self.opened.metadata_dir, &mut found);
        found.ready = found.problems.is_empty();
        found
    }
}

/// As the wire asks for it.
#[async_trait]
impl crate::http::Health for Health {
    async fn ready(&self) -> Result<Vec<String>, String> {
        let readiness = self.readiness().await;
        if !readiness.ready {
            return Err(readiness.problems.join("; "));
        }
        let mut warnings = readiness.warnings.clone();
        if readiness.read_only {
            warnings.push("the registry is read-only".into());
        }
        Ok(warnings)
    }

    fn warnings(&self) -> Vec<String> {
        self.watch.warning().into_iter().collect()
    }
}

async fn look_at_stores(registry: &Registry, found: &mut Readiness) {
    if let Err(error) = registry.blobs().check().await {
        found.problems.push(format!("blobs: {error}"));
    }
    if let Err(error) = registry.metadata().check().await {
        found.problems.push(format!("metadata: {error}"));
    }
    match registry.blobs().space().await {
        Ok(space) => judge_space(registry, space.free, found),
        Err(error) => found.problems.push(format!("blobs: {error}")),
    }
}

fn judge_space(registry: &Registry, free: u64, found: &mut Readiness) {
    let settings = registry.settings();
    found.free_bytes = Some(free);
    let (mib, least) = (free >> 20, settings.min_free >> 20);
    if settings.read_only {
        return;
    }
    if free < settings.min_free {
        let text = format!("the disk has {mib} MiB free; storage.min_free is {least} MiB");
        found.problems.push(text);
    } else if free < settings.warn_free {
        let text = format!("the disk has only {mib} MiB free; below {least} MiB pushes are refused");
        found.warnings.push(text);
    }
}

fn look_at_metadata_disk(dir: &Path, found: &mut Readiness) {
    match free_space(dir) {
        Ok(free) if free < METADATA_FLOOR && !found.read_only => {
            found.problems.push(format!("metadata: the disk has {} KiB free", free >> 10));
        }
        Ok(_) => {}
        Err(error) => found.problems.push(format!("metadata: {}: {error}", dir.display())),
    }
}
