//! What can be said on the command line. The comments here are what `--help` shows.

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
pub(super) use self::undo::{Asking, Back, RepoCommand, TagCommand, TagName, TrashCommand};
use crate::config::{Flag, Sources};

pub(super) use retention::{ImportFrom, RetentionCommand};

const ABOUT: &str = "A self-hosted OCI registry that stays small by itself";

const LONG_ABOUT: &str = "\
A self-hosted OCI registry that stays small by itself.

  orlop serve                        serve ./orlop-data on port 5000
  docker push localhost:5000/app:1   from the same machine, without any setting

Nothing needs to be configured. What can be is in config/orlop.example.toml; every setting can also be \
given by an environment variable, ORLOP_ and the path with two underscores between levels: \
ORLOP_GC__INTERVAL=200ms sets gc.interval. A flag wins over a variable, a variable over the file, the file \
over the default.

gc, fsck, scrub, events, audit, usage, why, backup, repos, tags, trash, tag, repo, retention, user, org, token and can work on a stopped store and beside a running server, which then \
does the work itself: they find it by the data directory, so give them the same --config or --data.";

const AFTER: &str = "\
Exit codes:
  0  fine
  1  something failed, or was found to be wrong
  2  wrong usage or settings; nothing was done";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "orlop", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: Common,

    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// The configuration file; without one the defaults hold
    #[arg(long, value_name = "FILE", env = "ORLOP_CONFIG", global = true)]
    pub(super) config: Option<PathBuf>,

    /// The data directory [setting: storage.data, default: ./orlop-data]
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) data: Option<PathBuf>,
}

/// How results are told.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SortBy {
    Name,
    Size,
    Pushed,
    Pulled,
}

/// What commands take that list something.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only names that have TEXT in them
    #[arg(long, value_name = "TEXT")]
    pub(super) search: Option<String>,

    /// What to sort by; sizes and times from the largest and newest on
    #[arg(long, value_enum, default_value_t = SortBy::Name)]
    pub(super) sort: SortBy,

    /// Turn the order round
    #[arg(long)]
    pub(super) reverse: bool,

    /// Only the first NUMBER
    #[arg(long, value_name = "NUMBER")]
    pub(super) limit: Option<usize>,

    #[command(flatten)]
    pub(super) output: Output,
}

/// What `serve` takes.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The address and port to listen on [setting: server.listen, default: 0.0.0.0:5000]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) listen: Option<String>,

    /// Start with what is left after the metadata was lost
    ///
    /// Without it a database that is missing, empty, damaged, an older copy or another registry's is refused. A
    /// damaged or foreign one is moved aside. Blobs are kept. A registry that required logins still does: without
    /// users only the administrator, whose password is shown as at a first start.
    #[arg(long)]
    pub(super) accept_loss: bool,
}

impl Cli {
    /// Where the settings come from.
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
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
