//! Readiness checks: whether a push would work.

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

use super::disk_space::Watch;
use super::filesystem::free_space;
use super::open::Opened;
use crate::errors::{Chain, Context};
use crate::http::listen::Tls;
use crate::metadata::MetadataError;
use crate::registry::{BudgetLevel, BudgetState, ClockState, Registry};
use crate::store::FilesystemStore;

/// How long a result is reused. Each check costs two syncs.
const READINESS_TTL: Duration = Duration::from_secs(1);

/// How often readiness is checked without a request.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// How long the stores may take to prove that they work. A disk that hangs is not ready.
const STORES_TIMEOUT: Duration = Duration::from_secs(5);

/// A certificate that expires within this many days causes a warning. ACME renews earlier.
const CERTIFICATE_WARNING_DAYS: u64 = 14;

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// Maximum number of quarantined blobs that are counted.
const MAX_COUNTED_QUARANTINED: usize = 10_000;

/// Minimum free bytes that the database needs to work.
const MIN_METADATA_SPACE: u64 = 8 << 20;

/// Whether a push would work, with problems and warnings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether a push would work; in read-only mode, whether a pull would.
    pub ready: bool,
    /// Whether the registry is configured to be read-only.
    pub read_only: bool,
    /// Reasons why it is not ready.
    pub problems: Vec<String>,
    /// Conditions that may become problems.
    pub warnings: Vec<String>,
    /// Free bytes of the blobs' disk, if known.
    pub free_bytes: Option<u64>,
}

/// Checks readiness at most once a second.
pub struct Health {
    opened: Arc<Opened>,
    watch: Arc<Watch>,
    tls: Option<Arc<Tls>>,
    draining: CancellationToken,
    last: Mutex<Option<(Instant, Arc<Readiness>)>>,
    store_fingerprint: Option<String>,
    /// Whether the last metadata check failed. A second failure in a row counts as permanent.
    metadata_failed: AtomicBool,
}

impl Health {
    /// Creates the health check of `opened`, which is unready once `draining` is cancelled.
    pub fn new(
        opened: Arc<Opened>,
        watch: Arc<Watch>,
        tls: Option<Arc<Tls>>,
        draining: CancellationToken,
    ) -> Self {
        let store = FilesystemStore::identify(&opened.data).ok().flatten();
        Self {
            opened,
            watch,
            tls,
            draining,
            last: Mutex::default(),
            store_fingerprint: store.map(store_fingerprint),
            metadata_failed: AtomicBool::new(false),
        }
    }

    /// Returns the readiness, at most a second old.
    pub async fn readiness(&self) -> Arc<Readiness> {
        self.readiness_within(READINESS_TTL).await
    }

    /// Returns the readiness, at most `max_age` old.
    async fn readiness_within(&self, max_age: Duration) -> Arc<Readiness> {
        let mut last = self.last.lock().await;
        if let Some((when, readiness)) = last.as_ref()
            && when.elapsed() < max_age
            && !self.draining.is_cancelled()
        {
            return Arc::clone(readiness);
        }
        let readiness = Arc::new(self.check().await);
        *last = Some((Instant::now(), Arc::clone(&readiness)));
        readiness
    }

    async fn check(&self) -> Readiness {
        let registry = &self.opened.registry;
        let mut found = Readiness { read_only: registry.settings().read_only, ..Readiness::default() };
        if self.draining.is_cancelled() {
            found.problems.push("the server is shutting down".into());
        }
        found.problems.extend(self.opened.failures.reason());
        let stores = tokio::time::timeout(STORES_TIMEOUT, self.check_stores(&mut found));
        if stores.await.is_err() {
            found.problems.push("the stores took too long to answer".into());
        }
        check_metadata_disk(&self.opened.metadata_dir, &mut found);
        found.warnings.extend(self.certificate_warning());
        found.ready = found.problems.is_empty();
        found
    }

    async fn check_stores(&self, found: &mut Readiness) {
        let registry = &self.opened.registry;
        if let Err(error) = registry.blobs().check().await {
            found.problems.push(format!("blobs: {}", Chain(&error)));
        }
        let metadata = registry.metadata().check().await;
        if let Err(error) = &metadata {
            found.problems.push(format!("metadata: {}", Chain(error)));
        }
        self.record_metadata_check(metadata);
        if let Ok(count @ 1..) = registry.metadata().count_quarantined(MAX_COUNTED_QUARANTINED).await {
            found.warnings.push(quarantine_warning(count));
        }
        if let Ok(ClockState::Suspect(reason)) = registry.clock_state().await {
            found.warnings.push(format!("the clock cannot be trusted, so nothing expires: {reason}"));
        }
        match registry.budget().await {
            Ok(Some(state)) => check_budget(registry, &state, found),
            Ok(None) => {}
            Err(error) => found.problems.push(format!("budget: {}", Chain(&error))),
        }
        match registry.blobs().space().await {
            Ok(space) => check_space(registry, space.free, found),
            Err(error) => found.problems.push(format!("blobs: {}", Chain(&error))),
        }
    }

    /// A warning before the TLS certificate expires.
    fn certificate_warning(&self) -> Option<String> {
        let expires = self.tls.as_ref()?.expires()?;
        let now = self.opened.registry.clock().now();
        let days = expires.since(now).as_secs() / SECONDS_PER_DAY;
        match (expires <= now, days) {
            (true, _) => Some("the TLS certificate has expired: replace server.tls_certificate".to_owned()),
            (false, ..CERTIFICATE_WARNING_DAYS) => {
                Some(format!("the TLS certificate expires in {days} days: replace server.tls_certificate"))
            }
            (false, _) => None,
        }
    }

    /// Records a failed sync if the metadata check fails twice in a row. A single failure may be a database locked by
    /// an administrator's shell. After a disk error the metadata writer stops for good, and only a restart helps.
    fn record_metadata_check(&self, checked: Result<(), MetadataError>) {
        let failed = matches!(checked, Err(MetadataError::Failed(_)));
        let failed_before = self.metadata_failed.swap(failed, Ordering::Relaxed);
        if let Err(error) = checked
            && failed
            && failed_before
        {
            self.opened.failures.record(Context::new("metadata", error));
        }
    }
}

/// Returns the tag that identifies a store in health checks: a digest of its id, which reveals nothing else.
pub fn store_fingerprint(store: Uuid) -> String {
    let mut tag = hex::encode(Sha256::digest(format!("orlop store {store}")));
    tag.truncate(16);
    tag
}

/// Checks readiness periodically, and logs changes.
pub(super) async fn check_periodically(health: Arc<Health>) {
    let mut before = true;
    loop {
        let now = health.readiness().await;
        match (before, now.ready) {
            (true, false) => tracing::error!(problems = now.problems.join("; "), "not ready"),
            (false, true) => tracing::info!("ready again"),
            _ => {}
        }
        before = now.ready;
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

/// The health check as HTTP uses it.
#[async_trait]
impl crate::http::Health for Health {
    async fn ready(&self) -> Result<Vec<String>, String> {
        warnings(&*self.readiness().await)
    }

    async fn recent(&self) -> Result<Vec<String>, String> {
        warnings(&*self.readiness_within(CHECK_INTERVAL * 2).await)
    }

    fn store_fingerprint(&self) -> Option<&str> {
        self.store_fingerprint.as_deref()
    }

    fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    fn warnings(&self) -> Vec<String> {
        self.watch.warning().into_iter().collect()
    }
}

/// The warnings of a check, or its problems.
fn warnings(readiness: &Readiness) -> Result<Vec<String>, String> {
    if !readiness.ready {
        return Err(readiness.problems.join("; "));
    }
    let mut warnings = readiness.warnings.clone();
    if readiness.read_only {
        warnings.push("the registry is read-only".into());
    }
    Ok(warnings)
}

fn quarantine_warning(count: u64) -> String {
    let (blobs, them) = if count == 1 { ("blob is", "it") } else { ("blobs are", "them") };
    format!("{count} {blobs} quarantined because of damage: push {them} again (see `orlop scrub`)")
}

fn check_space(registry: &Registry, free: u64, found: &mut Readiness) {
    let settings = registry.settings();
    found.free_bytes = Some(free);
    let mib = free >> 20;
    let least = settings.min_free >> 20;
    if settings.read_only {
        return;
    }
    if free < settings.min_free {
        let text = format!("the disk has {mib} MiB free, less than storage.min_free ({least} MiB)");
        found.problems.push(text);
    } else if free < settings.warn_free {
        let text = format!("the disk has only {mib} MiB free; below {least} MiB pushes are refused");
        found.warnings.push(text);
    }
}

fn check_budget(registry: &Registry, state: &BudgetState, found: &mut Readiness) {
    let taken = state.taken() >> 20;
    let budget = state.budget >> 20;
    match registry.budget_level(state) {
        _ if found.read_only => {}
        BudgetLevel::Ample => {}
        BudgetLevel::High => found.warnings.push(format!(
            "{taken} of {budget} MiB of the disk budget are used, more than storage.high_mark"
        )),
        BudgetLevel::Full => found.problems.push(format!(
            "the disk budget is used up: {taken} of {budget} MiB (storage.budget); pushes are refused"
        )),
    }
}

fn check_metadata_disk(dir: &Path, found: &mut Readiness) {
    match free_space(dir) {
        Ok(free) if free < MIN_METADATA_SPACE && !found.read_only => {
            found.problems.push(format!("metadata: the disk has {} KiB free", free >> 10));
        }
        Ok(_) => {}
        Err(error) => found.problems.push(format!("metadata: {}: {error}", dir.display())),
    }
}
