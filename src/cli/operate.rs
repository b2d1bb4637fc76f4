//! `orlop gc`, `fsck`, `scrub` and `backup`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::connect::connect;
use super::progress::Bar;
use super::table::print_result;
use super::{Failure, exit_code, output, start};
use crate::config::Config;
use crate::server::operations::{Operation, Report};

pub(super) fn run(config: &Config, operation: Operation, json: bool) -> Result<ExitCode, Failure> {
    let report = start()?.block_on(operate(config, &operation))?;
    print_result(&report, json, output::to_text);
    Ok(exit_code(report.is_ok()))
}

/// Makes `path` absolute, because a running server may have another working directory.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(path);
    absolute.map_err(|error| Failure::of(path.display(), error))
}

async fn operate(config: &Config, operation: &Operation) -> Result<Report, Failure> {
    let bar = Bar::new();
    let mut client = connect(config, operation.may_change()).await?;
    Ok(client.run(operation, &|step| bar.show(&step)).await?)
}
