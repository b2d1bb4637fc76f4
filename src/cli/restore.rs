//! `orlop restore`.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::progress::Bar;
use super::table::print_json;
use super::{Failure, exit_code, operate, output, start};
use crate::config::Config;
use crate::server::operations::Report;
use crate::server::{Restored, restore};

/// The result as JSON.
#[derive(Serialize)]
struct Outcome<'a> {
    copied: &'a Report,
    verified: &'a Report,
}

pub(super) fn run(config: &Config, dir: &Path, json: bool) -> Result<ExitCode, Failure> {
    let runtime = start()?;
    let dir = operate::absolute(dir)?;
    let bar = Bar::new();
    let progress = |step| bar.show(&step);
    let Restored { copied, verified } = runtime.block_on(restore(config, &dir, &progress))?;
    drop(bar);
    let copied = Report::Backup(copied);
    let verified = Report::Fsck(verified);
    if json {
        print_json(&Outcome { copied: &copied, verified: &verified });
    } else {
        output::print(&copied, false);
        output::print(&verified, false);
    }
    Ok(exit_code(copied.is_ok() && verified.is_ok()))
}
