//! `orlop serve`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::{Failure, exit_code};
use crate::config::Config;
#[cfg(feature = "otlp")]
use crate::server::traces::Traces;
use crate::server::{Purpose, background_runtime, logging, runtime, serve};

/// How long a disk that hangs may keep the process from ending.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(config: Config, accept_loss: bool) -> Result<ExitCode, Failure> {
    let no_threads = |error| Failure::Other(format!("no threads: {error}"));
    let (runtime, background) = (runtime().map_err(no_threads)?, background_runtime().map_err(no_threads)?);
    #[cfg(feature = "otlp")]
    let traces = Traces::start(&config, background.handle())
        .map_err(|error| Failure::Other(format!("no traces: {error}")))?;
    #[cfg(feature = "otlp")]
    let logs = match &traces {
        Some(traces) => logging::start_traced(&config.log, traces),
        None => logging::start(&config.log),
    };
    #[cfg(not(feature = "otlp"))]
    let logs = logging::start(&config.log);
    let purpose = if accept_loss { Purpose::AcceptLoss } else { Purpose::Serve };
    let served = runtime.block_on(serve(config, purpose, Arc::clone(&logs), background.handle()));
    #[cfg(feature = "otlp")]
    traces.iter().for_each(Traces::end);
    background.shutdown_timeout(PATIENCE);
    runtime.shutdown_timeout(PATIENCE);
    logs.flush();
    served?;
    Ok(exit_code(true))
}
