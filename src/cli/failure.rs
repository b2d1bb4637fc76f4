//! How a command ends: its failure and its exit code.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::errors::{BoxError, Context};
use crate::server::operations::OperationError;
use crate::server::{StartError, admin};

/// Exit code if the command failed or found a problem.
const FAILED: u8 = 1;

/// Exit code for invalid usage or settings.
const INVALID: u8 = 2;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Operation(#[from] OperationError),
    #[error(transparent)]
    Client(#[from] admin::ClientError),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Other(BoxError),
}

impl Failure {
    /// A failure of `what` because of `error`.
    pub(super) fn of(what: impl fmt::Display, error: impl Into<BoxError>) -> Self {
        Self::Other(Context::new(what, error).into())
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        let is_invalid = match self {
            Self::Config(_) | Self::Usage(_) => true,
            Self::Start(error) => error.is_setting_error(),
            Self::Operation(_) | Self::Client(_) | Self::Other(_) => false,
        };
        ExitCode::from(if is_invalid { INVALID } else { FAILED })
    }
}

/// Returns 0 for success, otherwise 1.
pub(super) fn exit_code(success: bool) -> ExitCode {
    if success { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}
