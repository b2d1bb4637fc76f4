//! Opening what belongs together, or saying why not.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::errors::StartError;
use super::failure::Failures;
use super::filesystem::network_filesystem;
use super::lock::StoreLock;
use super::observed::Observed;
use super::run_record::RunRecord;
use super::stores::{Opening, Stores};
use crate::auth::{AccessControl, Mode};
use crate::clock::SystemClock;
use crate::config::{Budget, Config, Period, QuotaSetting, Sparse, Storage, Untagged};
use crate::jobs::retention::RetentionSettings;
use crate::jobs::{CollectorSettings, PolicySet, Retention, ScrubSettings};
use crate::memory::MemoryBudget;
use crate::metadata::Quota;
use crate::registry::{BudgetSettings, BudgetSize, Registry, Settings};
use crate::store::{BlobStore, FilesystemStore};

/// The file that says that a restore has begun and has not ended.
pub(super) const RESTORING: &str = "restoring";

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To serve it: what is not there yet is made.
    Serve,
    /// To serve it with what is left, if its metadata was lost.
    AcceptLoss,
    /// To look after it: it must be there.
    Maintain,
}

/// A store that is open, locked, and whole.
pub struct Opened {
    /// The registry over it.
    pub registry: Arc<Registry>,
    /// Where the bytes are.
    pub data: PathBuf,
    /// Where the facts are.
    pub metadata_dir: PathBuf,
    /// Whether a sync has failed.
    pub failures: Arc<Failures>,
    stays_closed: bool,
    /// Before the lock: it writes when it is dropped.
    run: Option<RunRecord>,
    _lock: StoreLock,
}

impl Opened {
    /// Opens the store that `config` describes. Blocks.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(config: &Config, purpose: Purpose) -> Result<Self, StartError> {
        let (data, metadata_dir) = (config.storage.data.clone(), config.metadata_dir());
        refuse_network(&metadata_dir)?;
        make_directory(&data, purpose)?;
        let lock = StoreLock::take(&data)?;
        if data.join(RESTORING).exists() {
            return Err(StartError::HalfRestored(data));
        }
        Self::locked(config, purpose, lock).await
    }

    /// Opens what a restore has copied, to verify it.
    pub(super) async fn restored(config: &Config, lock: StoreLock) -> Result<Self, StartError> {
        Self::locked(config, Purpose::Maintain, lock).await
    }

    async fn locked(config: &Config, purpose: Purpose, mut lock: StoreLock) -> Result<Self, StartError> {
        let (data, metadata_dir) = (config.storage.data.clone(), config.metadata_dir());
        let failures = Arc::<Failures>::default();
        let Stores { blobs, metadata, run } = Opening::of(config, purpose).open(&mut lock, &failures).await?;
        refuse_small_disk(config, &blobs).await?;
        let stays_closed = metadata.stays_closed()?;
        let blobs = Arc::new(Observed::new(blobs, Arc::clone(&failures)));
        let clock = Arc::new(SystemClock);
        let registry = Registry::new(blobs, metadata, clock, settings(config));
        if purpose != Purpose::Maintain && !config.storage.read_only {
            registry.enforce_quotas().await?;
        }
        Ok(Self { registry, data, metadata_dir, failures, stays_closed, run, _lock: lock })
    }

    /// The settings in force: a registry that has lost its accounts stays closed until `auth.mode` says otherwise.
    pub fn config_in_force<'a>(&self, config: &'a Config) -> Cow<'a, Config> {
        if !self.stays_closed || config.auth.mode.is_some() {
            return Cow::Borrowed(config);
        }
        let mut config = config.clone();
        config.auth.mode = Some(Mode::Closed);
        Cow::Owned(config)
    }

    /// Takes `access_control` as what says whether the registry is closed, and records that beside the blobs.
    pub fn watch_access(&self, access_control: &Arc<AccessControl>) {
        if let Some(run) = &self.run {
            run.watch_access(access_control);
        }
    }

    /// Records what has changed since. Blocks.
    pub(super) fn refresh_state(&self) {
        if let Some(run) = &self.run {
            run.refresh();
        }
    }

    /// Records that the store was closed cleanly; nothing may be written afterwards. Blocks. Dropping does the same.
    pub(super) fn end(&self) {
        if let Some(run) = &self.run {
            run.end();
        }
    }
}

pub(super) fn refuse_network(metadata_dir: &Path) -> Result<(), StartError> {
    // What cannot be asked fails later, with a better message.
    let Ok(Some(name)) = network_filesystem(metadata_dir) else {
        return Ok(());
    };
    let dir = metadata_dir.display();
    let message =
        format!("{dir} is on {name}, where SQLite loses data: set it to a directory on a local disk");
    Err(StartError::Setting { key: "metadata.dir", message })
}

async fn refuse_small_disk(config: &Config, blobs: &FilesystemStore) -> Result<(), StartError> {
    let (space, wanted) = (blobs.space().await?, config.storage.min_free);
    if config.storage.read_only || space.total >= wanted.0 {
        return Ok(());
    }
    let mib = space.total >> 20;
    let message = format!("must be less than the disk has, which is {mib}MiB, not {wanted}");
    Err(StartError::Setting { key: "storage.min_free", message })
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

/// Tells whose the directory above is, for that is what is wrong in nearly every container.
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
        events_most: config.events.most.get(),
        audit_keep: config.audit.keep.0,
        audit_most: config.audit.most.get(),
        audit_file: config.audit.file.clone(),
        read_only: config.storage.read_only,
        budget: config.storage.budget.map(|budget| self::budget(&config.storage, budget)),
        memory: MemoryBudget::new(config.server.memory_budget()),
        quotas: quotas(config),
    }
}

fn budget(storage: &Storage, budget: Budget) -> BudgetSettings {
    let most = match budget {
        Budget::Size(size) => BudgetSize::Bytes(size.0),
        Budget::Share(share) => BudgetSize::Percent(share.0),
    };
    let (high, low, wait) = (storage.high_mark.0, storage.low_mark.0, storage.budget_wait.0);
    BudgetSettings { most, high, low, wait }
}

/// The quotas of the settings.
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

/// When things expire.
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

/// What lets things go by policies: those of `config` and those that are recorded. Immutable tags are guarded
/// from now on.
///
/// # Errors
/// [`StartError`].
pub(super) async fn retention(
    config: &Config,
    registry: &Arc<Registry>,
) -> Result<Arc<Retention>, StartError> {
    let book = PolicySet::of_file(config.retention.policies());
    let book =
        Arc::new(book.map_err(|error| StartError::Setting {
            key: "retention.policies",
            message: error.to_string(),
        })?);
    book.load(registry.metadata().as_ref()).await?;
    registry.guard_tags(Arc::clone(&book) as _);
    let settings = RetentionSettings { batch: config.gc.batch.get() };
    Ok(Arc::new(Retention::new(Arc::clone(registry), book, settings)))
}

/// How fast everything is read again.
pub(super) fn scrub_settings(config: &Config) -> ScrubSettings {
    let period = match config.scrub.period {
        Period::Off => None,
        Period::Every(span) => Some(span.0),
    };
    ScrubSettings { period, rate: config.scrub.rate.0 }
}
