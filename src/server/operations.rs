//! What an operator asks for: the same code beside a running server, through its admin socket, and on a
//! stopped store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::errors::StartError;
use super::lock::{DataLock, LockError};
use super::open::{Opened, collector_settings, retention, scrub_settings};
use super::overlap::refuse_overlap;
use crate::auth::AccessControl;
use crate::config::Config;
use crate::http::Health;
use crate::http::api::{Api, ApiSettings};
use crate::jobs::backup::{BackupError, BackupReport, backup};
use crate::jobs::fsck::{FsckReport, fsck};
use crate::jobs::progress::{Progress, Step, Unit};
use crate::jobs::scrub::{Scrub, ScrubReport};
use crate::jobs::{Collected, Collector, Retention};
use crate::metadata::{AuditAction, Garbage};
use crate::registry::ServiceError;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Collect what is due now, or tell what would be.
    Gc {
        /// Change nothing.
        dry_run: bool,
    },
    /// Check everything.
    Fsck {
        /// Mend what can be mended.
        repair: bool,
    },
    /// Read everything once, or tell how far the scrub in the background has come.
    Scrub {
        /// Read everything now.
        now: bool,
        /// The most bytes to read in a second.
        rate: Option<u64>,
    },
    /// Make or renew a backup.
    Backup {
        /// Where; absolute, as the server sees it.
        dir: PathBuf,
    },
}

impl Operation {
    /// Whether it may change something.
    pub fn changes(&self) -> bool {
        matches!(self, Self::Gc { dry_run: false } | Self::Fsck { repair: true })
    }

    /// What the audit log has of it, if it does more than to tell something.
    pub fn audited(&self) -> Option<(AuditAction, Option<String>)> {
        Some(match self {
            Self::Gc { dry_run: false } => (AuditAction::Gc, None),
            Self::Fsck { repair: true } => (AuditAction::FsckRepair, None),
            Self::Scrub { now: true, .. } => (AuditAction::Scrub, None),
            Self::Backup { dir } => (AuditAction::Backup, Some(dir.display().to_string())),
            Self::Gc { .. } | Self::Fsck { .. } | Self::Scrub { .. } => return None,
        })
    }
}

/// What a collection did or, in a dry run, would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    /// Whether it only told.
    pub dry_run: bool,
    /// Uploads that were idle for too long.
    pub uploads: u64,
    /// Manifests that went to the trash because nothing held them.
    pub manifests_expired: u64,
    /// Manifests that left the trash for good.
    pub manifests_purged: u64,
    /// Links that went.
    pub links: u64,
    /// Blobs whose bytes were removed.
    pub blobs: u64,
    /// How many bytes that were.
    pub bytes: u64,
    /// Why nothing expires at the moment, if that is so.
    pub paused: Option<String>,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// Of a collection.
    Gc(GcReport),
    /// Of a check.
    Fsck(FsckReport),
    /// Of a scrub.
    Scrub(ScrubReport),
    /// Of a backup or a restore.
    Backup(BackupReport),
}

/// Why an operation failed.
#[derive(Debug, Error)]
pub enum OperationError {
    /// A store failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The backup's directory is in use.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Refused(String),
}

/// What operations work on: a store, and all that is done to it in the background.
pub struct Operator {
    /// The store.
    pub opened: Arc<Opened>,
    /// The collector: a running server's own, so that one clock guard watches for both.
    pub collector: Arc<Collector>,
    /// The scrub.
    pub scrub: Arc<Scrub>,
    /// What lets things go by policies.
    pub retention: Arc<Retention>,
    /// Who comes in.
    pub access_control: Arc<AccessControl>,
}

impl Operator {
    /// Over `opened`, by the settings and policies of `config`, for those whom `access_control` lets in. Immutable tags are guarded
    /// from now on.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn new(
        config: &Config,
        opened: Arc<Opened>,
        access_control: Arc<AccessControl>,
    ) -> Result<Self, StartError> {
        let registry = &opened.registry;
        let retention = retention(config, registry).await?;
        let collector = Collector::new(Arc::clone(registry), collector_settings(config))
            .with_policies(Arc::clone(retention.book()));
        let scrub = Scrub::new(Arc::clone(registry), scrub_settings(config));
        Ok(Self { collector: Arc::new(collector), scrub: Arc::new(scrub), retention, opened, access_control })
    }

    /// The API over the same.
    pub fn api(&self, health: Arc<dyn Health>, settings: ApiSettings) -> Arc<Api> {
        Arc::new(Api::new(
            Arc::clone(&self.opened.registry),
            Arc::clone(&self.collector),
            health,
            Arc::clone(&self.scrub),
            Arc::clone(&self.retention),
            Arc::clone(&self.access_control),
            settings,
        ))
    }
}

impl Operator {
    /// Does what is asked for, telling `progress` how far it has come.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn run(
        &self,
        operation: &Operation,
        progress: &dyn Progress,
    ) -> Result<Report, OperationError> {
        let registry = &self.opened.registry;
        Ok(match operation {
            Operation::Gc { dry_run: true } => Report::Gc(self.would_collect().await?),
            Operation::Gc { dry_run: false } => Report::Gc(self.collect(progress).await?),
            Operation::Fsck { repair } => Report::Fsck(fsck(registry, *repair, progress).await?),
            Operation::Scrub { now: false, .. } => Report::Scrub(self.scrub.report().await?),
            Operation::Scrub { now: true, rate } => {
                Report::Scrub(self.scrub.run_to_end(*rate, progress).await?)
            }
            Operation::Backup { dir } => Report::Backup(self.back_up(dir, progress).await?),
        })
    }

    async fn would_collect(&self) -> Result<GcReport, OperationError> {
        let uploads = self.collector.idle_uploads().await?;
        let paused = self.collector.status().paused;
        Ok(GcReport { uploads, paused, ..self.collector.dry_run().await?.into() })
    }

    async fn collect(&self, progress: &dyn Progress) -> Result<GcReport, OperationError> {
        let tell = |done: &Collected| {
            let what = "collecting".to_owned();
            progress.report(Step { what, done: done.bytes, total: None, unit: Unit::Bytes });
        };
        let done = self.collector.run_to_end(tell).await?;
        Ok(GcReport { paused: self.collector.status().paused, ..done.into() })
    }

    async fn back_up(&self, dir: &Path, progress: &dyn Progress) -> Result<BackupReport, OperationError> {
        if !dir.is_absolute() {
            return Err(OperationError::Refused(format!("{} is not an absolute path", dir.display())));
        }
        // A backup within what it is a backup of, or around it, would be lost together with it.
        refuse_overlap(dir, &[&self.opened.data, &self.opened.metadata_dir])
            .map_err(OperationError::Refused)?;
        std::fs::create_dir_all(dir).map_err(|error| BackupError::Io { path: dir.into(), error })?;
        let _lock = DataLock::take(dir)?;
        let (registry, data) = (&self.opened.registry, &self.opened.data);
        Ok(backup(registry, data, dir, progress).await?)
    }
}

impl From<Collected> for GcReport {
    fn from(done: Collected) -> Self {
        Self {
            dry_run: false,
            uploads: done.uploads,
            manifests_expired: done.manifests_expired,
            manifests_purged: done.manifests_purged,
            links: done.links,
            blobs: done.blobs,
            bytes: done.bytes,
            paused: None,
        }
    }
}

impl From<Garbage> for GcReport {
    fn from(garbage: Garbage) -> Self {
        Self {
            dry_run: true,
            manifests_expired: garbage.manifests_expired,
            manifests_purged: garbage.manifests_purged,
            links: garbage.links,
            blobs: garbage.blobs,
            bytes: garbage.bytes,
            ..Self::default()
        }
    }
}

impl Report {
    /// Reads back what `operation` came to, from the admin socket.
    ///
    /// # Errors
    /// When it is something else: the server is of another version.
    pub fn read(operation: &Operation, json: serde_json::Value) -> serde_json::Result<Self> {
        Ok(match operation {
            Operation::Gc { .. } => Self::Gc(serde_json::from_value(json)?),
            Operation::Fsck { .. } => Self::Fsck(serde_json::from_value(json)?),
            Operation::Scrub { .. } => Self::Scrub(serde_json::from_value(json)?),
            Operation::Backup { .. } => Self::Backup(serde_json::from_value(json)?),
        })
    }

    /// Whether nothing is wrong.
    pub fn is_fine(&self) -> bool {
        match self {
            Self::Gc(_) => true,
            Self::Fsck(report) => report.is_sound(),
            Self::Scrub(report) => report.is_sound(),
            Self::Backup(report) => report.is_whole(),
        }
    }
}

/// As a path on the admin socket.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gc { dry_run } => write!(f, "/gc?dry_run={dry_run}"),
            Self::Fsck { repair } => write!(f, "/fsck?repair={repair}"),
            Self::Scrub { now, rate: None } => write!(f, "/scrub?now={now}"),
            Self::Scrub { now, rate: Some(rate) } => write!(f, "/scrub?now={now}&rate={rate}"),
            Self::Backup { dir } => {
                use std::os::unix::ffi::OsStrExt;
                let dir = percent_encoding::percent_encode(
                    dir.as_os_str().as_bytes(),
                    percent_encoding::NON_ALPHANUMERIC,
                );
                write!(f, "/backup?dir={dir}")
            }
        }
    }
}
