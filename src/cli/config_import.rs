//! `orlop config import`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::failure::{Failure, exit_code};
use super::terminal::{write_error, write_out};
use crate::config::{Imported, MAX_CONFIG_BYTES, import};
use crate::printable::escape;

/// The commands of `orlop config`.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the configuration of a registry:2 or registry:3 as settings of orlop
    ///
    /// Reads its YAML file and the REGISTRY_* environment variables, which override the file as they do there. Prints
    /// the settings to standard output, and to standard error what was carried over, what has no counterpart, and what
    /// to do next. Changes nothing.
    #[command(after_help = "\
Examples:
  orlop config import /etc/docker/registry/config.yml > orlop.toml
  REGISTRY_HTTP_ADDR=:5001 orlop config import > orlop.toml
  docker exec registry cat /etc/docker/registry/config.yml | orlop config import - > orlop.toml")]
    Import {
        /// Configuration file, or - for standard input; without it, only the variables count
        file: Option<PathBuf>,
    },
}

/// The name of standard input.
const STDIN: &str = "-";

/// Runs a command.
pub(super) fn run(command: ConfigCommand) -> Result<ExitCode, Failure> {
    let ConfigCommand::Import { file } = command;
    let yaml = file.as_deref().map_or_else(|| Ok(String::new()), read)?;
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with("REGISTRY_"))?;
        Some((name, value.into_string().ok()?))
    });
    let shown = match &file {
        None => "the environment".to_owned(),
        Some(file) if file.as_os_str() == STDIN => "standard input".to_owned(),
        Some(file) => file.display().to_string(),
    };
    let imported = import(&yaml, variables).map_err(|error| Failure::of(&shown, error))?;
    write_out(&format!(
        "# Translated from {} by `orlop config import`.\n\n{}",
        escape(&shown),
        imported.to_toml()
    ));
    write_error(report(&imported).trim_end());
    Ok(exit_code(true))
}

/// Reads a configuration, or one byte more than its maximum size.
fn read(file: &Path) -> Result<String, Failure> {
    let most = MAX_CONFIG_BYTES as u64 + 1;
    let mut text = String::new();
    let read = match file.as_os_str() == STDIN {
        true => io::stdin().take(most).read_to_string(&mut text),
        false => File::open(file).and_then(|opened| opened.take(most).read_to_string(&mut text)),
    };
    read.map(|_| text).map_err(|error| Failure::of(format!("cannot read {}", file.display()), error))
}

fn report(imported: &Imported) -> String {
    let mut text = "carried over:\n".to_owned();
    for carried in &imported.carried {
        text.push_str(&format!("  {} -> {}\n", escape(&carried.from), carried.to));
    }
    if !imported.remarks.is_empty() {
        text.push_str("no counterpart:\n");
    }
    for remark in &imported.remarks {
        text.push_str(&format!("  {}: {}\n", escape(&remark.key), escape(&remark.text)));
    }
    text.push_str("next:\n");
    for step in &imported.steps {
        text.push_str(&format!("  {}\n", escape(step)));
    }
    text
}
