//! Why a command could not begin, or had to end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::lock::LockError;
use super::loss::Loss;
use crate::http::listen::TlsError;
use crate::jobs::backup::BackupError;
use crate::metadata::{MetadataError, sqlite};
use crate::registry::ServiceError;
use crate::store::{self, StoreError};

/// Why a command could not begin, or had to end.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting that cannot be honoured on this machine.
    #[error("{key}: {message}")]
    Setting {
        /// Which.
        key: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// Certificate or key.
    #[error("{}: {error}", tls_keys(.error))]
    Tls {
        /// What is wrong.
        #[from]
        error: TlsError,
    },
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The data directory cannot be made.
    #[error("the data directory {}: {error}{hint}", path.display())]
    Data {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
        /// What may help, or nothing.
        hint: String,
    },
    /// There is no store where one was expected.
    #[error("there is no store in {}: nothing was ever served from there", .0.display())]
    NoStore(PathBuf),
    /// A restore into this directory has not ended.
    #[error("a restore into {} was interrupted: run it again", .0.display())]
    HalfRestored(PathBuf),
    /// A restore would mix two stores.
    #[error("{} is not empty: a backup is only restored to an empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// A restore failed.
    #[error(transparent)]
    Restore(BackupError),
    /// Bytes and facts are not each other's.
    #[error("{0}")]
    Mismatch(String),
    /// The metadata is lost, or not that of this store.
    #[error(
        "the database {} cannot be used: {loss}; starting with it would lose what it recorded of the store in {}, \
         accounts included. Put the right database back ({}), or restore a backup into an empty data directory \
         (orlop restore), or accept the loss (orlop serve --accept-loss): blobs are kept then, and a registry that \
         required logins still does",
        database.display(),
        data.display(),
        hint(.loss)
    )]
    Lost {
        /// The database.
        database: PathBuf,
        /// Where the blobs are.
        data: PathBuf,
        /// What was lost.
        loss: Loss,
    },
    /// The state file.
    #[error("the state file {}: {error}", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The bytes.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The facts.
    #[error(transparent)]
    Metadata(#[from] sqlite::OpenError),
    /// A store that was opened failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A sync failed while it served.
    #[error("ended to start anew, for a write did not become durable: {0}")]
    Broken(String),
    /// Signals.
    #[error("signals cannot be listened to: {0}")]
    Signals(io::Error),
    /// The address.
    #[error("server.listen: cannot listen on {address}: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

/// What may be wrong besides the database itself.
fn hint(loss: &Loss) -> &'static str {
    match loss {
        Loss::Missing => "is metadata.dir right and mounted?",
        Loss::Foreign { .. } => "are storage.data and metadata.dir right?",
        Loss::Log | Loss::Older => "with the file orlop.db-wal that was beside it",
        Loss::State(_) => "and state.json with it",
        Loss::Empty | Loss::Unreadable(_) => "did the disk fail or fill up?",
    }
}

/// The settings that may be to blame.
fn tls_keys(error: &TlsError) -> &'static str {
    match error {
        TlsError::Authorities { .. } => "server.tls_client_ca",
        TlsError::File { .. } | TlsError::Unusable(_) => "server.tls_certificate, server.tls_key",
    }
}

impl StartError {
    /// Whether a setting is to blame, rather than the machine's state.
    pub fn is_setting(&self) -> bool {
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
