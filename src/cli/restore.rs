//! `orlop restore`.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::output::to_text;
use super::progress::Bar;
use super::table::print_result;
use super::{Failure, exit_code, operate, start};
use crate::config::Config;
use crate::server::operations::Report;
use crate::server::{Restored, restore};

/// The result as JSON.
#[derive(Serialize)]
struct Outcome {
    copied: Report,
    verified: Report,
}

pub(super) fn run(config: &Config, dir: &Path, json: bool) -> Result<ExitCode, Failure> {
    let runtime = start()?;
    let dir = operate::absolute(dir)?;
    let bar = Bar::new();
    let progress = |step| bar.show(&step);
    let Restored { copied, verified } = runtime.block_on(restore(config, &dir, &progress))?;
    drop(bar);
    let outcome = Outcome { copied: Report::Backup(copied), verified: Report::Fsck(verified) };
    print_result(&outcome, json, |Outcome { copied, verified }| to_text(copied) + &to_text(verified));
    Ok(exit_code(outcome.copied.is_ok() && outcome.verified.is_ok()))
}
