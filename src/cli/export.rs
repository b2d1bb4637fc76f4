//! `orlop export`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::args::Output;
use super::failure::Failure;
use super::operate;
use crate::config::Config;
use crate::maintenance::export::{ExportLayout, ExportRequest};
use crate::oci::RepoName;
use crate::server::operations::Operation;
use crate::store::ExportMethod;

/// The arguments of `orlop export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Layout of the export
    #[arg(long, value_parser = layout())]
    layout: ExportLayout,

    /// Directory of the export; created if missing
    dir: PathBuf,

    /// Export only this repository; can be repeated
    #[arg(long = "repo", value_name = "NAME")]
    repositories: Vec<RepoName>,

    /// Copy blobs instead of linking them
    #[arg(long)]
    copy: bool,

    #[command(flatten)]
    output: Output,
}

fn layout() -> impl TypedValueParser<Value = ExportLayout> {
    PossibleValuesParser::new(ExportLayout::ALL.map(ExportLayout::name)).try_map(|name| name.parse())
}

/// Exports images, and prints what was exported.
pub(super) fn run(config: &Config, arguments: ExportArgs) -> Result<ExitCode, Failure> {
    let ExportArgs { layout, dir, repositories, copy, output } = arguments;
    let dir = operate::absolute(&dir)?;
    let method = if copy { ExportMethod::Copy } else { ExportMethod::HardLink };
    let request = ExportRequest { layout, dir, repositories, method };
    operate::run(config, Operation::Export(request), output.json)
}
