//! Errors that prevent a command from starting, or stop it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::lock::LockError;
use super::loss::Loss;
use crate::errors::{BoxError, SharedError};
use crate::http::listen::TlsError;
use crate::maintenance::backup::BackupError;
use crate::metadata::{MetadataError, sqlite};
use crate::registry::ServiceError;
use crate::store::{self, StoreError};

/// Why a command could not start or had to stop.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting that cannot be used on this machine.
    #[error("{key}")]
    Setting {
        /// The setting's key.
        key: &'static str,
        /// What is wrong with it.
        #[source]
        reason: BoxError,
    },
    /// The TLS certificate or key cannot be used.
    #[error("{}", tls_setting_keys(.error))]
    Tls {
        /// The cause.
        #[from]
        error: TlsError,
    },
    /// A directory could not be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The data directory cannot be created or used.
    #[error("the data directory {}{hint}", path.display())]
    Data {
        /// The data directory.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
        /// A hint for the operator; may be empty.
        hint: String,
    },
    /// The data directory holds no store.
    #[error("no store in {}: run `orlop serve` with it first, or correct storage.data", .0.display())]
    NoStore(PathBuf),
    /// The data directory is empty, and there are images of a registry:2 that can be adopted.
    #[error(
        "{} holds no registry of Orlop, but {} holds images of a registry:2 or 3. To take them over where they are, \
         run `orlop adopt {}` once, then start again (with Docker Compose: docker compose run --rm --user 0 orlop \
         adopt {}; see docs/adopt.md). To start with an empty registry, set storage.data to another directory and \
         storage.old_registry to \"\"",
        data.display(), old.display(), old.display(), old.display()
    )]
    NotAdopted {
        /// The data directory.
        data: PathBuf,
        /// The directory of the old registry.
        old: PathBuf,
    },
    /// The data directory holds images of a registry that can't be adopted.
    #[error(
        "{} holds images of another registry (OCI layouts as zot stores them, such as {}), which Orlop does not \
         serve. Set storage.data to another directory, run that registry on another port, and copy its images: \
         `skopeo sync --all --src docker --dest docker OLD/REPOSITORY NEW`",
        data.display(), found.display()
    )]
    OtherRegistry {
        /// The data directory.
        data: PathBuf,
        /// One of the layouts.
        found: PathBuf,
    },
    /// A restore into this directory did not finish.
    #[error("a restore into {} was interrupted: run it again", .0.display())]
    HalfRestored(PathBuf),
    /// The target of a restore is not empty; the restore would mix two stores.
    #[error("{} is not empty: a backup can only be restored to an empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// A restore failed.
    #[error(transparent)]
    Restore(BackupError),
    /// The data directory and the metadata directory belong to different stores.
    #[error("{0}")]
    Mismatch(String),
    /// The metadata was lost or belongs to another store.
    #[error(
        "the database {} cannot be used: {loss}; starting with it would lose what it recorded of the store \
         in {}, accounts included. Put the right database back ({}), or restore a backup into an empty data \
         directory (orlop restore), or accept the loss (orlop serve --accept-loss), which keeps the blobs; a \
         registry that required logins still requires them",
        database.display(),
        data.display(),
        restore_hint(.loss)
    )]
    Lost {
        /// The database.
        database: PathBuf,
        /// The data directory.
        data: PathBuf,
        /// What was lost.
        loss: Loss,
    },
    /// The state file cannot be read or written.
    #[error("the state file {}", path.display())]
    State {
        /// The state file.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// The blob store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The database cannot be opened.
    #[error(transparent)]
    Metadata(#[from] sqlite::OpenError),
    /// A store failed after it was opened.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A sync to the disk failed while the server ran.
    #[error("stopped to be restarted, because a write did not become durable")]
    SyncFailed(#[source] SharedError),
    /// Signal handlers cannot be installed.
    #[error("cannot install signal handlers")]
    Signals(#[source] io::Error),
    /// The server cannot listen on the address.
    #[error("server.listen: cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        error: io::Error,
    },
}

/// Returns what to check, or what else to put back, when the right database is put back.
fn restore_hint(loss: &Loss) -> &'static str {
    match loss {
        Loss::Missing => "is metadata.dir right and mounted?",
        Loss::Foreign { .. } => "are storage.data and metadata.dir right?",
        Loss::Log | Loss::Older => "with the file orlop.db-wal that was beside it",
        Loss::State(_) => "and state.json with it",
        Loss::Empty | Loss::Unreadable(_) => "did the disk fail or fill up?",
    }
}

/// Returns the keys of the settings that caused a TLS error.
fn tls_setting_keys(error: &TlsError) -> &'static str {
    match error {
        TlsError::Authorities { .. } => "server.tls_client_ca",
        TlsError::File { .. } | TlsError::Unusable(_) => "server.tls_certificate, server.tls_key",
    }
}

impl StartError {
    /// An error of the setting `key`.
    pub(super) fn setting(key: &'static str, reason: impl Into<BoxError>) -> Self {
        Self::Setting { key, reason: reason.into() }
    }

    /// Whether a setting is wrong, as opposed to the state of the machine or the store.
    pub fn is_setting_error(&self) -> bool {
        matches!(self, Self::Setting { .. } | Self::Tls { .. })
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

impl From<MetadataError> for StartError {
    fn from(error: MetadataError) -> Self {
        Self::Service(error.into())
    }
}
