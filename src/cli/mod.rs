//! The command line.
//!
//! All commands share their exit codes: 0 for success; 1 if the command failed or found a problem; 2 for invalid usage
//! or settings, when nothing was changed.

mod args;
mod audit;
mod can;
mod check_config;
mod confirm;
mod connect;
mod events;
mod healthcheck;
mod list;
mod operate;
mod org;
mod output;
mod progress;
mod repo;
mod restore;
mod retention;
mod serve;
mod table;
mod tag;
mod token;
mod trash;
mod usage;
mod user;
mod why;

use std::fmt;
use std::process::ExitCode;

use clap::Parser;

use self::args::{Cli, Command};
use crate::config::{Config, ConfigError};
use crate::errors::{BoxError, Chain, Context};
use crate::server::operations::{Operation, OperationError};
use crate::server::{StartError, admin, disable_core_files, logging, request_runtime};

/// Exit code if the command failed or found a problem.
const FAILED: u8 = 1;

/// Exit code for invalid usage or settings.
const INVALID: u8 = 2;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
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
    fn of(what: impl fmt::Display, error: impl Into<BoxError>) -> Self {
        Self::Other(Context::new(what, error).into())
    }

    fn exit_code(&self) -> ExitCode {
        let is_invalid = match self {
            Self::Config(_) | Self::Usage(_) => true,
            Self::Start(error) => error.is_setting_error(),
            Self::Operation(_) | Self::Client(_) | Self::Other(_) => false,
        };
        ExitCode::from(if is_invalid { INVALID } else { FAILED })
    }
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    disable_core_files();
    // Images and password hashes are secret, so all created files are readable by their owner only.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            table::write_error(&format!("error: {}", Chain(&failure)));
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let config = Config::load(&cli.sources())?;
    match cli.command {
        Command::Serve(arguments) => serve::run(config, arguments.accept_loss),
        Command::CheckConfig(output) => check_config::run(&cli.common, &config, output.json),
        Command::Healthcheck => healthcheck::run(&config),
        Command::Gc { dry_run, output } => operate::run(&config, Operation::Gc { dry_run }, output.json),
        Command::Fsck { repair, output } => operate::run(&config, Operation::Fsck { repair }, output.json),
        Command::Scrub { now, rate, output } => {
            let rate = rate.map(|rate| rate.0);
            operate::run(&config, Operation::Scrub { now, rate }, output.json)
        }
        Command::Events { kind, limit, output } => events::run(&config, kind, limit, output.json),
        Command::Audit(filter) => audit::run(&config, filter),
        Command::Usage { scope, output } => usage::run(&config, scope, output.json),
        Command::Why { subject, output } => why::run(&config, &subject, output.json),
        Command::Backup { dir, output } => {
            let dir = operate::absolute(&dir)?;
            operate::run(&config, Operation::Backup { dir }, output.json)
        }
        Command::Repos { prefix, list } => list::repositories(&config, prefix, &list),
        Command::Tags { repository, list } => list::tags(&config, &repository, &list),
        Command::Trash(command) => trash::run(&config, command),
        Command::Tag(command) => tag::run(&config, command),
        Command::Repo(command) => repo::run(&config, command),
        Command::Retention(command) => retention::run(&config, command),
        Command::User(command) => user::run(&config, command),
        Command::Org(command) => org::run(&config, command),
        Command::Token(command) => token::run(&config, command),
        Command::Can { user, action, repository, output } => {
            can::run(&config, &user, action, &repository, output.json)
        }
        Command::Restore { dir, output } => restore::run(&config, &dir, output.json),
    }
}

/// Starts plain logging of warnings, and returns a runtime for a short-lived command.
fn start() -> Result<tokio::runtime::Runtime, Failure> {
    logging::start_plain();
    request_runtime().map_err(|error| Failure::of("cannot start threads", error))
}

/// Returns 0 for success, otherwise 1.
fn exit_code(success: bool) -> ExitCode {
    if success { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}
