//! Opens a store: takes its locks, opens blobs and metadata, and builds the registry over them.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::errors::StartError;
use super::filesystem::network_filesystem;
use super::lock::StoreLock;
use super::run_record::RunRecord;
use super::stores::{Opening, Purpose, Stores};
use super::sync_failures::{FailureRecordingStore, Failures};
use crate::auth::{AccessControl, AnonymousMode};
use crate::clock::SystemClock;
use crate::config::{Budget, Config, Period, QuotaSetting, Sparse, Storage, Untagged};
use crate::jobs::retention::RetentionSettings;
use crate::jobs::{CollectorSettings, PolicySet, Retention, ScrubSettings};
use crate::memory::MemoryBudget;
use crate::metadata::Quota;
use crate::registry::{BudgetSettings, BudgetSize, Registry, Settings};
use crate::store::{BlobStore, FilesystemStore};

/// The marker file of a restore that has not finished.
pub(super) const RESTORING: &str = "restoring";

/// An open and locked store.
pub struct Opened {
    /// The registry over it.
    pub registry: Arc<Registry>,
    /// The data directory, which holds the blobs.
    pub data: PathBuf,
    /// The directory of the database.
    pub metadata_dir: PathBuf,
    /// The first failed sync, if any.
    pub failures: Arc<Failures>,
    stays_closed: bool,
    /// Declared before the lock, so that it is dropped first: it writes when it is dropped.
    run: Option<RunRecord>,
    _lock: StoreLock,
}

impl Opened {
    /// Opens the store that `config` describes. Blocks.
    ///
    /// # Errors
    /// Fails if the store is locked, lost, missing or cannot be opened.
    pub async fn open(config: &Config, purpose: Purpose) -> Result<Self, StartError> {
        let data = config.storage.data.clone();
        let metadata_dir = config.metadata_dir();
        refuse_network(&metadata_dir)?;
        make_directory(&data, purpose)?;
        let lock = StoreLock::take(&data)?;
        if data.join(RESTORING).exists() {
            return Err(StartError::HalfRestored(data));
        }
        Self::open_locked(config, purpose, lock).await
    }

    /// Opens a store that a restore has just copied, to verify it.
    pub(super) async fn open_restored(config: &Config, lock: StoreLock) -> Result<Self, StartError> {
        Self::open_locked(config, Purpose::Maintain, lock).await
    }

    async fn open_locked(config: &Config, purpose: Purpose, mut lock: StoreLock) -> Result<Self, StartError> {
        let data = config.storage.data.clone();
        let metadata_dir = config.metadata_dir();
        let failures = Arc::<Failures>::default();
        let Stores { blobs, metadata, run } = Opening::of(config, purpose).open(&mut lock, &failures).await?;
        refuse_small_disk(config, &blobs).await?;
        let stays_closed = metadata.stays_closed()?;
        let blobs = Arc::new(FailureRecordingStore::new(blobs, Arc::clone(&failures)));
        let clock = Arc::new(SystemClock);
        let registry = Registry::new(blobs, metadata, clock, settings(config));
        if purpose != Purpose::Maintain && !config.storage.read_only {
            registry.enforce_quotas().await?;
        }
        Ok(Self { registry, data, metadata_dir, failures, stays_closed, run, _lock: lock })
    }

    /// Returns the effective settings: a registry that lost its accounts stays closed unless `auth.mode` is set.
    pub fn effective_config<'a>(&self, config: &'a Config) -> Cow<'a, Config> {
        if !self.stays_closed || config.auth.mode.is_some() {
            return Cow::Borrowed(config);
        }
        let mut config = config.clone();
        config.auth.mode = Some(AnonymousMode::Closed);
        Cow::Owned(config)
    }

    /// Starts recording in the state file whether `access_control` requires logins.
    pub fn watch_access(&self, access_control: &Arc<AccessControl>) {
        if let Some(run) = &self.run {
            run.watch_access(access_control);
        }
    }

    /// Updates the state file if something has changed. Blocks.
    pub(super) fn refresh_state(&self) {
        if let Some(run) = &self.run {
            run.refresh();
        }
    }

    /// Records a clean shutdown; nothing may be written afterwards. Dropping does the same. Blocks.
    pub(super) fn close(&self) {
        if let Some(run) = &self.run {
            run.close();
        }
    }
}

pub(super) fn refuse_network(metadata_dir: &Path) -> Result<(), StartError> {
    // If `statfs` fails, opening the database fails later with a better message.
    let Ok(Some(name)) = network_filesystem(metadata_dir) else {
        return Ok(());
    };
    let dir = metadata_dir.display();
    let message =
        format!("{dir} is on {name}, where SQLite loses data: set it to a directory on a local disk");
    Err(StartError::setting("metadata.dir", message))
}

async fn refuse_small_disk(config: &Config, blobs: &FilesystemStore) -> Result<(), StartError> {
    let space = blobs.space().await?;
    let wanted = config.storage.min_free;
    if config.storage.read_only || space.total >= wanted.0 {
        return Ok(());
    }
    let mib = space.total >> 20;
    let message = format!("must be less than the disk's size, which is {mib}MiB, not {wanted}");
    Err(StartError::setting("storage.min_free", message))
}

fn make_directory(data: &Path, purpose: Purpose) -> Result<(), StartError> {
    if data.is_dir() {
        return Ok(());
    }
    match purpose {
        Purpose::Maintain => Err(StartError::NoStore(data.into())),
        Purpose::Serve | Purpose::AcceptLoss => {
            fs::create_dir_all(data).map_err(|error| unusable(data, error))
        }
    }
}

/// Builds the error for an unusable data directory. Names this process's user: in containers a wrong owner is the
/// usual cause.
fn unusable(path: &Path, error: io::Error) -> StartError {
    let user = rustix::process::geteuid().as_raw();
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => format!(" (this process runs as user {user})"),
        _ => String::new(),
    };
    StartError::Data { path: path.into(), error, hint }
}

fn settings(config: &Config) -> Settings {
    Settings {
        lease: config.gc.lease.0,
        lease_pressure: config.gc.lease_pressure.0,
        max_references: config.manifests.max_references.get(),
        sparse: config.manifests.sparse == Sparse::Allow,
        parallel_uploads: config.uploads.parallel.get(),
        upload_queue: config.uploads.queue_timeout.0,
        max_blob_size: config.uploads.max_size.0,
        min_free: config.storage.min_free.0,
        warn_free: config.storage.warn_free.0,
        history_keep: config.history.keep.get(),
        history_max_rows: config.history.max_rows.get(),
        history_removed: config.history.removed.0,
        events_keep: config.events.keep.0,
        max_events: config.events.most.get(),
        audit_keep: config.audit.keep.0,
        max_audit_entries: config.audit.most.get(),
        audit_file: config.audit.file.clone(),
        read_only: config.storage.read_only,
        budget: config.storage.budget.map(|budget| self::budget(&config.storage, budget)),
        memory: MemoryBudget::new(config.server.memory_budget()),
        quotas: quotas(config),
    }
}

fn budget(storage: &Storage, budget: Budget) -> BudgetSettings {
    let limit = match budget {
        Budget::Size(size) => BudgetSize::Bytes(size.0),
        Budget::Share(share) => BudgetSize::Percent(share.0),
    };
    BudgetSettings { limit, high: storage.high_mark.0, low: storage.low_mark.0, wait: storage.budget_wait.0 }
}

/// Returns the quotas that the settings define.
pub(super) fn quotas(config: &Config) -> Vec<Quota> {
    config.quotas.iter().map(quota).collect()
}

fn quota(setting: &QuotaSetting) -> Quota {
    Quota {
        scope: setting.prefix.clone(),
        bytes: setting.bytes.map(|size| size.0),
        tags: setting.tags.map(|count| count.0.into()),
        repositories: setting.repositories.map(|count| count.0.into()),
    }
}

/// Builds the settings of the garbage collector.
pub(super) fn collector_settings(config: &Config) -> CollectorSettings {
    CollectorSettings {
        trash: config.gc.trash.0,
        untagged: match config.gc.untagged {
            Untagged::Keep => None,
            Untagged::After(span) => Some(span.0),
        },
        upload_expiry: config.uploads.expire.0,
        batch: config.gc.batch.get(),
    }
}

/// Builds the retention job with the policies of `config` and the database. Immutable tags are enforced from now on.
///
/// # Errors
/// Fails if a policy is invalid or the metadata cannot be read.
pub(super) async fn retention(
    config: &Config,
    registry: &Arc<Registry>,
) -> Result<Arc<Retention>, StartError> {
    let policies = PolicySet::from_file(config.retention.policies());
    let policies = Arc::new(policies.map_err(|error| StartError::setting("retention.policies", error))?);
    policies.load(registry.metadata().as_ref()).await?;
    registry.guard_tags(Arc::clone(&policies) as _);
    let settings = RetentionSettings { batch: config.gc.batch.get() };
    Ok(Arc::new(Retention::new(Arc::clone(registry), policies, settings)))
}

/// Builds the settings of the scrub.
pub(super) fn scrub_settings(config: &Config) -> ScrubSettings {
    let period = match config.scrub.period {
        Period::Off => None,
        Period::Every(span) => Some(span.0),
    };
    ScrubSettings { period, rate: config.scrub.rate.0 }
}
