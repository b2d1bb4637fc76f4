//! Whether a push would work.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::filesystem::free_space;
use super::open::Opened;
use super::watch::Watch;
use crate::metadata::MetadataError;
use crate::registry::{BudgetLevel, BudgetState, Registry};
use crate::store::FilesystemStore;

/// How long an answer is good for. Each costs two syncs.
const FRESH: Duration = Duration::from_secs(1);

/// How often things are looked at when nobody asks.
const UNASKED: Duration = Duration::from_secs(30);

/// How long the stores may take to prove that they work. A disk that hangs is not ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// More damaged blobs than are counted one by one.
const MOST_DAMAGED: usize = 10_000;

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
    store_tag: Option<String>,
    /// The facts failed at the last look: at the second time they are given up.
    wavered: AtomicBool,
}

impl Health {
    /// The health of what was opened, which is over when `draining` is cancelled.
    pub fn new(opened: Arc<Opened>, watch: Arc<Watch>, draining: CancellationToken) -> Self {
        let store = FilesystemStore::identify(&opened.data).ok().flatten();
        let (last, wavered) = (Mutex::default(), AtomicBool::new(false));
        Self { opened, watch, draining, last, store_tag: store.map(store_tag), wavered }
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
        found.problems.extend(self.opened.failures.reason());
        let stores = tokio::time::timeout(PATIENCE, self.look_at_stores(&mut found));
        if stores.await.is_err() {
            found.problems.push("the stores took too long to answer".into());
        }
        look_at_metadata_disk(&self.opened.metadata_dir, &mut found);
        found.ready = found.problems.is_empty();
        found
    }

    async fn look_at_stores(&self, found: &mut Readiness) {
        let registry = &self.opened.registry;
        if let Err(error) = registry.blobs().check().await {
            found.problems.push(format!("blobs: {error}"));
        }
        let facts = registry.metadata().check().await;
        self.judge_facts(&facts);
        if let Err(error) = facts {
            found.problems.push(format!("metadata: {error}"));
        }
        if let Ok(damaged @ 1..) = registry.metadata().count_damaged(MOST_DAMAGED).await {
            found.warnings.push(damaged_warning(damaged));
        }
        match registry.budget().await {
            Ok(Some(state)) => judge_budget(registry, &state, found),
            Ok(None) => {}
            Err(error) => found.problems.push(format!("budget: {error}")),
        }
        match registry.blobs().space().await {
            Ok(space) => judge_space(registry, space.free, found),
            Err(error) => found.problems.push(format!("blobs: {error}")),
        }
    }

    /// Facts that fail once may just be locked by somebody's shell. Their writer gives up for good when the
    /// medium failed it, and then only starting anew helps.
    fn judge_facts(&self, facts: &Result<(), MetadataError>) {
        let failed = matches!(facts, Err(MetadataError::Failed(_)));
        let before = self.wavered.swap(failed, Ordering::Relaxed);
        if let Err(error) = facts
            && failed
            && before
        {
            self.opened.failures.note(format!("metadata: {error}"));
        }
    }
}

/// By what the health check knows a store: a digest of its identity, which says nothing else.
pub fn store_tag(store: Uuid) -> String {
    let mut tag = hex::encode(Sha256::digest(format!("orlop store {store}")));
    tag.truncate(16);
    tag
}

/// Looks from time to time also when nobody asks, and logs when things change.
pub(super) async fn keep_looking(health: Arc<Health>) {
    let mut before = true;
    loop {
        let now = health.readiness().await;
        match (before, now.ready) {
            (true, false) => tracing::error!(problems = now.problems.join("; "), "not ready"),
            (false, true) => tracing::info!("ready again"),
            _ => {}
        }
        before = now.ready;
        tokio::time::sleep(UNASKED).await;
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

    fn store_tag(&self) -> Option<&str> {
        self.store_tag.as_deref()
    }

    fn warnings(&self) -> Vec<String> {
        self.watch.warning().into_iter().collect()
    }
}

fn damaged_warning(damaged: u64) -> String {
    let (blobs, them) = if damaged == 1 { ("blob is", "it") } else { ("blobs are", "them") };
    format!("{damaged} {blobs} damaged and absent until a push brings {them} again: see `orlop scrub`")
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

fn judge_budget(registry: &Registry, state: &BudgetState, found: &mut Readiness) {
    let (taken, budget) = (state.taken() >> 20, state.budget >> 20);
    match registry.budget_level(state) {
        _ if found.read_only => {}
        BudgetLevel::Ample => {}
        BudgetLevel::High => found.warnings.push(format!(
            "{taken} of {budget} MiB of the budget are taken, more than its high mark (storage.high_mark)"
        )),
        BudgetLevel::Full => found.problems.push(format!(
            "the budget is used up: {taken} of {budget} MiB (storage.budget) are taken; pushes are refused"
        )),
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
