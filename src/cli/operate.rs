//! `gc`, `fsck`, `scrub`, `usage` and `backup`: beside a running server through its admin socket, else here.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::progress::Bar;
use super::{Failure, exit_code, output};
use crate::config::Config;
use crate::jobs::{Collector, Scrub};
use crate::server::admin::Client;
use crate::server::operations::{Operation, OperationError, Operator, Report};
use crate::server::{
    LockError, Opened, Purpose, StartError, collector_settings, logging, runtime, scrub_settings,
};

/// How often a server that has the lock and no socket is looked for, and how long it is waited for between.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

pub(super) fn run(config: &Config, operation: Operation, json: bool) -> Result<ExitCode, Failure> {
    logging::start_plain();
    let runtime = runtime().map_err(|error| Failure::Other(format!("no threads: {error}")))?;
    let report = runtime.block_on(operate(config, &operation))?;
    output::print(&report, json);
    Ok(exit_code(report.is_fine()))
}

/// `path` as it is seen from everywhere.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(path);
    absolute.map_err(|error| Failure::Other(format!("{}: {error}", path.display())))
}

async fn operate(config: &Config, operation: &Operation) -> Result<Report, Failure> {
    let bar = Bar::new();
    let progress = |step| bar.show(&step);
    for attempt in 0.. {
        if let Some(mut client) = Client::connect(&config.storage.data).await? {
            return Ok(client.run(operation, &progress).await?);
        }
        match Opened::open(config, Purpose::Maintain).await {
            Ok(opened) => return here(config, opened, operation, &progress).await,
            // It may be just starting, or just ending.
            Err(StartError::Lock(LockError::Held { .. })) if attempt < TRIES => {
                tokio::time::sleep(PAUSE).await
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Other("unreachable".into()))
}

async fn here(
    config: &Config,
    opened: Opened,
    operation: &Operation,
    progress: &dyn crate::jobs::progress::Progress,
) -> Result<Report, Failure> {
    if operation.changes() {
        opened.registry.recover().await.map_err(OperationError::from)?;
    }
    let opened = Arc::new(opened);
    let collector = Arc::new(Collector::new(Arc::clone(&opened.registry), collector_settings(config)));
    let scrub = Arc::new(Scrub::new(Arc::clone(&opened.registry), scrub_settings(config)));
    Ok(Operator { opened, collector, scrub }.run(operation, progress).await?)
}
