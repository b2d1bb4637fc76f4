//! Command-line arguments. The doc comments here are the `--help` texts.

mod accounts;
mod audit;
mod commands;
mod retention;
mod undo;

use std::path::PathBuf;

use clap::{Args, Parser};

pub(super) use self::accounts::{OrgCommand, TokenCommand, UserCommand};
pub(super) use self::audit::AuditArgs;
pub(super) use self::commands::Command;
pub(super) use self::undo::{Confirmation, RepoCommand, RestoreTarget, TagCommand, TagName, TrashCommand};
use crate::config::{Flag, Sources};

pub(super) use retention::{ImportFrom, RetentionCommand};

const ABOUT: &str = "A self-hosted OCI registry that stays small by itself";

const LONG_ABOUT: &str = "\
A self-hosted OCI registry that stays small by itself.

  orlop serve                        serve ./orlop-data on port 5000
  docker push localhost:5000/app:1   push from the same machine, without any setting

No configuration is needed. config/orlop.example.toml lists all settings. Each can also be set by an \
environment variable: ORLOP_ and the path in upper case, with two underscores between levels. For example, \
ORLOP_GC__INTERVAL=200ms sets gc.interval. Flags override variables, variables override the file, and the \
file overrides the defaults.

These commands work on a stopped store and with a running server, which then does the work itself: gc, fsck, \
scrub, events, audit, usage, why, backup, repos, tags, trash, tag, repo, retention, user, org, token, can. They \
find the server through the data directory, so pass the same --config or --data.";

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  the command failed or found a problem
  2  invalid usage or settings; nothing was changed";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "orlop", version, about = ABOUT, long_about = LONG_ABOUT, after_help = EXIT_CODES)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: Common,

    #[command(subcommand)]
    pub(super) command: Command,
}

/// Arguments of every command.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Configuration file; without it, the defaults apply
    #[arg(long, value_name = "FILE", env = "ORLOP_CONFIG", global = true)]
    pub(super) config: Option<PathBuf>,

    /// Data directory [setting: storage.data, default: ./orlop-data]
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) data: Option<PathBuf>,
}

/// Output format.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Sort keys of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SortBy {
    Name,
    Size,
    Pushed,
    Pulled,
}

/// Arguments of commands that list something.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// List only names that contain TEXT
    #[arg(long, value_name = "TEXT")]
    pub(super) search: Option<String>,

    /// Sort key; sizes and times sort in descending order
    #[arg(long, value_enum, default_value_t = SortBy::Name)]
    pub(super) sort: SortBy,

    /// Reverse the order
    #[arg(long)]
    pub(super) reverse: bool,

    /// List only the first NUMBER items
    #[arg(long, value_name = "NUMBER")]
    pub(super) limit: Option<usize>,

    #[command(flatten)]
    pub(super) output: Output,
}

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

impl Cli {
    /// Returns the sources of the settings.
    pub(super) fn sources(&self) -> Sources {
        let mut flags = Vec::new();
        if let Some(data) = &self.common.data {
            let value = data.to_string_lossy().into_owned();
            flags.push(Flag { name: "--data", key: "storage.data", value });
        }
        if let Command::Serve(ServeArgs { listen: Some(address), .. }) = &self.command {
            flags.push(Flag { name: "--listen", key: "server.listen", value: address.clone() });
        }
        Sources { file: self.common.config.clone(), environment: std::env::vars_os().collect(), flags }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
