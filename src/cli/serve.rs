//! `orlop serve`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::{Failure, exit_code};
use crate::config::Config;
#[cfg(feature = "otlp")]
use crate::server::traces::Traces;
use crate::server::{Purpose, background_runtime, logging, request_runtime, serve};

/// How long a hanging disk may delay the exit of the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

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
    let purpose = if accept_loss { Purpose::AcceptLoss } else { Purpose::Serve };
    let served = runtime.block_on(serve(config, purpose, Arc::clone(&logs), background.handle()));
    #[cfg(feature = "otlp")]
    traces.iter().for_each(Traces::end);
    background.shutdown_timeout(SHUTDOWN_TIMEOUT);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    logs.flush();
    served?;
    Ok(exit_code(true))
}
