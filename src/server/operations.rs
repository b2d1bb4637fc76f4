//! Maintenance operations: `gc`, `fsck`, `scrub`, `backup` and `export`. The same code runs in a server (for
//! requests on its admin socket) and in the command itself (on a stopped store).

use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::errors::StartError;
use super::filesystem::{lies_below, refuse_overlap};
use super::lock::{DataLock, LockError};
use super::open::Opened;
use super::settings::{collector_settings, scrub_settings};
use crate::auth::AccessControl;
use crate::config::Config;
use crate::distribution::DistributionTree;
use crate::http::Health;
use crate::http::api::{Api, Changes};
use crate::jobs::retention::RetentionSettings;
use crate::jobs::scrub::{Scrub, ScrubReport};
use crate::jobs::{Collected, Collector, PolicySet, Retention};
use crate::maintenance::adopt::{AdoptError, AdoptReport, FinishError, FinishReport, adopt, finish};
use crate::maintenance::backup::{BackupError, BackupReport, backup};
use crate::maintenance::export::{ExportError, ExportLayout, ExportReport, ExportRequest, export};
use crate::maintenance::fsck::{FsckReport, fsck};
use crate::maintenance::progress::{Progress, Step, Unit};
use crate::metadata::{AuditAction, Garbage};
use crate::oci::RepoName;
use crate::registry::ServiceError;
use crate::shared_files;
use crate::store::{Adoption, ExportMethod};

/// An operation to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Collect garbage, or report what would be collected.
    Gc {
        /// Only report what would be collected, and change nothing.
        dry_run: bool,
    },
    /// Check the consistency of blobs and metadata.
    Fsck {
        /// Also repair what can be repaired.
        repair: bool,
    },
    /// Read and verify all blobs, or report the progress of the background scrub.
    Scrub {
        /// Read and verify all blobs now, instead of reporting the progress.
        now: bool,
        /// Maximum read rate in bytes per second.
        rate: Option<u64>,
    },
    /// Take over the tree of a Distribution registry.
    Adopt {
        /// Directory of the tree: an absolute path on the server's machine (in its container).
        path: PathBuf,
        /// How its bytes get into the store.
        how: Adoption,
    },
    /// Remove the tree of an adopted registry.
    FinishAdoption {
        /// Directory of the tree.
        path: PathBuf,
    },
    /// Create or update a backup.
    Backup {
        /// Directory of the backup: an absolute path on the server's machine (in its container).
        dir: PathBuf,
    },
    /// Export images in another layout.
    Export(ExportRequest),
}

impl Operation {
    /// Whether the operation may change the store.
    pub fn may_change(&self) -> bool {
        matches!(
            self,
            Self::Gc { dry_run: false }
                | Self::Fsck { repair: true }
                | Self::Adopt { .. }
                | Self::FinishAdoption { .. }
        )
    }

    /// Returns the action and subject for the audit log. Operations that only report have none.
    pub fn audit_entry(&self) -> Option<(AuditAction, Option<String>)> {
        Some(match self {
            Self::Gc { dry_run: false } => (AuditAction::Gc, None),
            Self::Fsck { repair: true } => (AuditAction::FsckRepair, None),
            Self::Scrub { now: true, .. } => (AuditAction::Scrub, None),
            Self::Adopt { path, .. } => (AuditAction::Adopt, Some(path.display().to_string())),
            Self::FinishAdoption { path } => (AuditAction::AdoptionFinish, Some(path.display().to_string())),
            Self::Backup { dir } => (AuditAction::Backup, Some(dir.display().to_string())),
            Self::Export(request) => (AuditAction::Export, Some(request.dir.display().to_string())),
            Self::Gc { .. } | Self::Fsck { .. } | Self::Scrub { .. } => return None,
        })
    }
}

/// What a garbage collection has removed or, for a dry run, would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    /// Whether this was a dry run, which changes nothing.
    pub dry_run: bool,
    /// Expired uploads.
    pub uploads: u64,
    /// Manifests moved to the trash because nothing referred to them.
    pub manifests_expired: u64,
    /// Manifests removed from the trash.
    pub manifests_purged: u64,
    /// Removed links between repositories and blobs.
    pub links: u64,
    /// Removed blobs.
    pub blobs: u64,
    /// Bytes of the removed blobs.
    pub bytes: u64,
    /// If expiry is paused, the reason.
    pub paused: Option<String>,
}

/// The result of an operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// Result of a garbage collection.
    Gc(GcReport),
    /// Result of a consistency check.
    Fsck(FsckReport),
    /// Result of a scrub.
    Scrub(ScrubReport),
    /// Result of an adoption.
    Adopt(AdoptReport),
    /// Result of the end of an adoption.
    FinishAdoption(FinishReport),
    /// Result of a backup or restore.
    Backup(BackupReport),
    /// Result of an export.
    Export(ExportReport),
}

/// Why an operation failed.
#[derive(Debug, Error)]
pub enum OperationError {
    /// The registry or a store failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The adoption failed.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// The adoption could not be finished.
    #[error(transparent)]
    FinishAdoption(#[from] FinishError),
    /// The backup failed.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The export failed.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The backup directory is locked by another process.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The request is invalid.
    #[error("{0}")]
    Invalid(String),
}

/// Runs operations on an open store. In a server, it shares the server's background jobs.
pub struct Operations {
    /// The open store.
    pub opened: Arc<Opened>,
    /// The garbage collector. In a server, it is the one of the background job, so that both use the same clock guard.
    pub collector: Arc<Collector>,
    /// The job that verifies all blobs.
    pub scrub: Arc<Scrub>,
    /// The retention job.
    pub retention: Arc<Retention>,
    /// Authentication and authorisation.
    pub access_control: Arc<AccessControl>,
}

impl Operations {
    /// Builds the jobs for `opened` with the settings and policies of `config`. Immutable tags are enforced from now
    /// on.
    ///
    /// # Errors
    /// Fails if a policy is invalid or the metadata cannot be read.
    pub async fn new(
        config: &Config,
        opened: Arc<Opened>,
        access_control: Arc<AccessControl>,
    ) -> Result<Self, StartError> {
        let registry = &opened.registry;
        let policies = PolicySet::from_file(config.retention.policies());
        let policies = Arc::new(policies.map_err(|error| StartError::setting("retention.policies", error))?);
        policies.load(registry.metadata().as_ref()).await?;
        registry.guard_tags(Arc::clone(&policies) as _);
        let settings = RetentionSettings { batch: config.gc.batch.get() };
        let retention = Arc::new(Retention::new(Arc::clone(registry), policies, settings));
        let collector = Collector::new(Arc::clone(registry), collector_settings(config))
            .with_policies(Arc::clone(retention.policy_set()));
        let scrub = Scrub::new(Arc::clone(registry), scrub_settings(config));
        Ok(Self { collector: Arc::new(collector), scrub: Arc::new(scrub), retention, opened, access_control })
    }

    /// Builds the management API over the same store and jobs.
    pub fn api(&self, health: Arc<dyn Health>, changes: Changes) -> Arc<Api> {
        Arc::new(Api::new(
            Arc::clone(&self.opened.registry),
            Arc::clone(&self.collector),
            health,
            Arc::clone(&self.scrub),
            Arc::clone(&self.retention),
            Arc::clone(&self.access_control),
            changes,
        ))
    }

    /// Runs `operation` and reports its progress to `progress`.
    ///
    /// # Errors
    /// Fails if a store fails or the request is invalid.
    pub async fn run(
        &self,
        operation: &Operation,
        progress: &dyn Progress,
    ) -> Result<Report, OperationError> {
        let registry = &self.opened.registry;
        Ok(match operation {
            Operation::Gc { dry_run: true } => Report::Gc(self.preview_collection().await?),
            Operation::Gc { dry_run: false } => Report::Gc(self.collect(progress).await?),
            Operation::Fsck { repair } => Report::Fsck(fsck(registry, *repair, progress).await?),
            Operation::Scrub { now: false, .. } => Report::Scrub(self.scrub.report().await?),
            Operation::Scrub { now: true, rate } => {
                Report::Scrub(self.scrub.run_to_end(*rate, progress).await?)
            }
            Operation::Adopt { path, how } => Report::Adopt(self.adopt(path, *how, progress).await?),
            Operation::FinishAdoption { path } => {
                Report::FinishAdoption(finish(registry, path.clone(), progress).await?)
            }
            Operation::Backup { dir } => Report::Backup(self.back_up(dir, progress).await?),
            Operation::Export(request) => Report::Export(self.export(request, progress).await?),
        })
    }

    async fn preview_collection(&self) -> Result<GcReport, OperationError> {
        let uploads = self.collector.idle_uploads().await?;
        let paused = self.collector.status().paused;
        Ok(GcReport { uploads, paused, ..self.collector.dry_run().await?.into() })
    }

    async fn collect(&self, progress: &dyn Progress) -> Result<GcReport, OperationError> {
        let report = |done: &Collected| {
            let what = "collecting".to_owned();
            progress.report(Step { what, done: done.bytes, total: None, unit: Unit::Bytes });
        };
        let done = self.collector.run_to_end(report).await?;
        Ok(GcReport { paused: self.collector.status().paused, ..done.into() })
    }

    async fn adopt(
        &self,
        path: &Path,
        how: Adoption,
        progress: &dyn Progress,
    ) -> Result<AdoptReport, OperationError> {
        let tree = Arc::new(DistributionTree::open(path).map_err(AdoptError::from)?);
        let adopted = adopt(&self.opened.registry, &tree, how, progress).await?;
        Ok(AdoptReport { data: self.opened.data.clone(), ..adopted })
    }

    async fn back_up(&self, dir: &Path, progress: &dyn Progress) -> Result<BackupReport, OperationError> {
        require_absolute(dir)?;
        // A backup that contains the data directory, or is inside it, would be lost together with the data.
        refuse_overlap(dir, &[&self.opened.data, &self.opened.metadata_dir])
            .map_err(OperationError::Invalid)?;
        std::fs::create_dir_all(dir).map_err(|error| BackupError::Io { path: dir.into(), error })?;
        let _lock = DataLock::take(dir)?;
        Ok(backup(&self.opened.registry, &self.opened.data, dir, progress).await?)
    }

    async fn export(
        &self,
        request: &ExportRequest,
        progress: &dyn Progress,
    ) -> Result<ExportReport, OperationError> {
        require_absolute(&request.dir)?;
        check_export_directory(request, &[&self.opened.data, &self.opened.metadata_dir])?;
        let created = shared_files::create_dir(&request.dir);
        created.map_err(|error| ExportError::Io { path: request.dir.clone(), error })?;
        let _lock = lock_directory(&request.dir)?;
        Ok(export(&self.opened.registry, request, progress).await?)
    }
}

/// Rejects a directory for an export that overlaps the store. The tree of another registry may contain the data
/// directory: that is where `orlop adopt` creates it.
fn check_export_directory(request: &ExportRequest, own: &[&Path]) -> Result<(), OperationError> {
    let is_tree =
        request.layout == ExportLayout::Distribution && DistributionTree::find(&request.dir).is_some();
    for own in own {
        let inside_tree =
            is_tree && lies_below(own, &request.dir) && !lies_below(own, &request.dir.join("docker"));
        if !inside_tree {
            refuse_overlap(&request.dir, &[own]).map_err(OperationError::Invalid)?;
        }
    }
    Ok(())
}

/// Locks the directory of an export until the file is dropped. It leaves nothing behind.
fn lock_directory(dir: &Path) -> Result<File, OperationError> {
    let io_error = |error| ExportError::Io { path: dir.into(), error };
    let file = File::open(dir).map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OperationError::Invalid(format!(
            "another export writes to {}; wait for its end",
            dir.display()
        ))),
        Err(TryLockError::Error(error)) => Err(io_error(error).into()),
    }
}

/// Encodes a path as the value of a query parameter.
fn encode(path: &Path) -> percent_encoding::PercentEncode<'_> {
    use std::os::unix::ffi::OsStrExt;
    percent_encoding::percent_encode(path.as_os_str().as_bytes(), percent_encoding::NON_ALPHANUMERIC)
}

/// Rejects a relative path, because a server has another working directory than its client.
fn require_absolute(dir: &Path) -> Result<(), OperationError> {
    match dir.is_absolute() {
        true => Ok(()),
        false => Err(OperationError::Invalid(format!("{} is not an absolute path", dir.display()))),
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
    /// Parses the report of `operation` that the admin socket returned.
    ///
    /// # Errors
    /// Fails if the report does not have the expected fields, because the server has another version.
    pub fn parse(operation: &Operation, json: serde_json::Value) -> serde_json::Result<Self> {
        Ok(match operation {
            Operation::Gc { .. } => Self::Gc(serde_json::from_value(json)?),
            Operation::Fsck { .. } => Self::Fsck(serde_json::from_value(json)?),
            Operation::Scrub { .. } => Self::Scrub(serde_json::from_value(json)?),
            Operation::Adopt { .. } => Self::Adopt(serde_json::from_value(json)?),
            Operation::FinishAdoption { .. } => Self::FinishAdoption(serde_json::from_value(json)?),
            Operation::Backup { .. } => Self::Backup(serde_json::from_value(json)?),
            Operation::Export(_) => Self::Export(serde_json::from_value(json)?),
        })
    }

    /// Whether the operation found no problem.
    pub fn is_ok(&self) -> bool {
        match self {
            Self::Gc(_) => true,
            Self::Fsck(report) => report.is_sound(),
            Self::Scrub(report) => report.is_sound(),
            Self::Adopt(report) => report.is_complete(),
            Self::FinishAdoption(report) => report.is_done(),
            Self::Backup(report) => report.is_whole(),
            Self::Export(report) => report.is_whole(),
        }
    }
}

/// Formats the operation as the path and query of its request to the admin socket.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gc { dry_run } => write!(f, "/gc?dry_run={dry_run}"),
            Self::Fsck { repair } => write!(f, "/fsck?repair={repair}"),
            Self::Scrub { now, rate: None } => write!(f, "/scrub?now={now}"),
            Self::Scrub { now, rate: Some(rate) } => write!(f, "/scrub?now={now}&rate={rate}"),
            Self::Adopt { path, how } => {
                let how = serde_json::to_value(how).unwrap_or_default();
                write!(f, "/adopt?path={}&how={}", encode(path), how.as_str().unwrap_or_default())
            }
            Self::Backup { dir } => write!(f, "/backup?dir={}", encode(dir)),
            Self::Export(ExportRequest { layout, dir, repositories, method }) => {
                let copy = *method == ExportMethod::Copy;
                write!(f, "/export?layout={layout}&copy={copy}&dir={}", encode(dir))?;
                // Names have no characters that a query would have to encode, and no commas.
                let names: Vec<_> = repositories.iter().map(RepoName::as_str).collect();
                write!(f, "&repositories={}", names.join(","))
            }
            Self::FinishAdoption { path } => write!(f, "/finish-adoption?path={}", encode(path)),
        }
    }
}
