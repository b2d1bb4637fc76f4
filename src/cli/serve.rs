//! `orlop serve`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::failure::{Failure, exit_code};
use crate::config::Config;
use crate::scheduling::{background_runtime, request_runtime};
#[cfg(feature = "otlp")]
use crate::server::traces::Traces;
use crate::server::{OpenMode, logging, serve};

/// How long a hanging disk may delay the exit of the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on [setting: server.listen, default: 0.0.0.0:5000]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) listen: Option<String>,

    /// Start even though the metadata was lost
    ///
    /// Without this flag Orlop refuses to start if the database is missing, empty, damaged, an older copy, or from
    /// another registry. With it, Orlop renames a damaged or foreign database and keeps the blobs. A registry that
    /// required logins still requires them. If it has no users left, an administrator is created as at the first start.
    #[arg(long)]
    pub(super) accept_loss: bool,
}

pub(super) fn run(config: Config, accept_loss: bool) -> Result<ExitCode, Failure> {
    let no_threads = |error| Failure::of("cannot start threads", error);
    let runtime = request_runtime().map_err(no_threads)?;
    let background = background_runtime().map_err(no_threads)?;
    #[cfg(feature = "otlp")]
    let traces = Traces::start(&config, background.handle())
        .map_err(|error| Failure::of("cannot start traces", error))?;
    #[cfg(feature = "otlp")]
    let logs = match &traces {
        Some(traces) => logging::start_traced(&config.log, traces),
        None => logging::start(&config.log),
    };
    #[cfg(not(feature = "otlp"))]
    let logs = logging::start(&config.log);
    let mode = if accept_loss { OpenMode::AcceptLoss } else { OpenMode::Serve };
    let served = runtime.block_on(serve(config, mode, Arc::clone(&logs), background.handle()));
    #[cfg(feature = "otlp")]
    traces.iter().for_each(Traces::end);
    background.shutdown_timeout(SHUTDOWN_TIMEOUT);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    logs.flush();
    served?;
    Ok(exit_code(true))
}
