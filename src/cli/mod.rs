//! The command line. The doc comments of arguments are the `--help` texts.
//!
//! All commands share their exit codes: 0 for success; 1 if the command failed or found a problem; 2 for invalid usage
//! or settings, when nothing was changed.

mod adopt;
mod adoption_report;
mod args;
mod check_config;
mod config_import;
mod connect;
mod export;
mod failure;
mod healthcheck;
mod list;
mod logs;
mod operate;
mod org;
mod progress;
mod repo;
mod retention;
mod serve;
mod tag;
mod terminal;
mod token;
mod trash;
mod usage;
mod user;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::adopt::AdoptArgs;
use self::args::{Output, one_of};
use self::config_import::ConfigCommand;
use self::export::ExportArgs;
use self::failure::Failure;
use self::list::ListArgs;
use self::logs::AuditArgs;
use self::org::OrgCommand;
use self::repo::RepoCommand;
use self::retention::RetentionCommand;
use self::serve::ServeArgs;
use self::tag::TagCommand;
use self::terminal::write_error;
use self::token::TokenCommand;
use self::trash::TrashCommand;
use self::user::UserCommand;
use self::why::WhyTarget;
use crate::config::{Config, Flag, MIN_SCRUB_RATE, Size, Sources};
use crate::errors::Chain;
use crate::metadata::{EventKind, Role, Scope};
use crate::oci::RepoName;
use crate::server::operations::Operation;
use crate::server::{disable_core_files, with_adopted_data};

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
scrub, events, audit, usage, why, backup, export, repos, tags, trash, tag, repo, retention, user, org, token, can. They \
find the server through the data directory, so pass the same --config or --data.";

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  the command failed or found a problem
  2  invalid usage or settings; nothing was changed";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "orlop", version, about = ABOUT, long_about = LONG_ABOUT, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    common: Common,

    #[command(subcommand)]
    command: Command,
}

/// Arguments of every command.
#[derive(Debug, Args)]
struct Common {
    /// Configuration file; without it, the defaults apply
    #[arg(long, value_name = "FILE", env = "ORLOP_CONFIG", global = true)]
    config: Option<PathBuf>,

    /// Data directory [setting: storage.data, default: ./orlop-data]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the registry
    ///
    /// Creates the data directory if it does not exist. On SIGTERM or SIGINT running transfers may finish, for at most
    /// server.drain_timeout; a second signal exits at once.
    #[command(after_help = "\
Examples:
  orlop serve
  orlop serve --data /srv/registry --listen 127.0.0.1:5000
  ORLOP_STORAGE__READ_ONLY=true orlop serve --config /etc/orlop.toml")]
    Serve(ServeArgs),

    /// Collect garbage: free the space of content that nothing references
    ///
    /// A server does this by itself every gc.interval. Only expired content is removed: leases, the trash time and the
    /// retention time of untagged manifests are honoured.
    #[command(after_help = "\
Examples:
  orlop gc --dry-run
  orlop gc --json | jq .bytes")]
    Gc {
        /// Report what would be removed, and change nothing
        #[arg(long)]
        dry_run: bool,

        #[command(flatten)]
        output: Output,
    },

    /// Check the store: read every byte, verify each digest, count and reference
    ///
    /// Exits with 1 if there is a problem: missing or damaged blobs, a manifest whose parts are missing, inconsistent
    /// metadata, or blobs that nothing references. Unknown files are listed, but are no problem.
    ///
    /// --repair quarantines damaged blobs, so that the next push of them restores their content, releases quarantined
    /// blobs that are sound, and removes blobs that nothing references. It never removes referenced content or unknown
    /// files.
    #[command(after_help = "\
Examples:
  orlop fsck
  orlop fsck --json | jq '.problems[].subject'")]
    Fsck {
        /// Repair what can be repaired
        #[arg(long)]
        repair: bool,

        #[command(flatten)]
        output: Output,
    },

    /// Show the progress of the scrub and quarantined blobs, or verify everything now
    ///
    /// A server verifies every blob against its digest, evenly over scrub.period. Damaged blobs are quarantined: they
    /// are absent to clients, but everything that references them stays, so that the next push of the blob restores
    /// it. Nothing is removed. Exits with 1 if anything is damaged.
    #[command(after_help = "\
Examples:
  orlop scrub
  orlop scrub --now --rate 50MiB")]
    Scrub {
        /// Verify everything now, as fast as possible
        #[arg(long)]
        now: bool,

        /// Maximum read rate per second, such as 50MiB
        #[arg(long, value_name = "SIZE", requires = "now", value_parser = rate)]
        rate: Option<Size>,

        #[command(flatten)]
        output: Output,
    },

    /// List what happened to the store without a user's request, newest first
    ///
    /// Damaged and restored blobs; a full budget or disk, a wrong clock, and when that was over; what policies
    /// removed, and who changed them; deleted, restored and renamed repositories.
    #[command(after_help = "\
Examples:
  orlop events
  orlop events --kind blob-damaged --limit 5
  orlop events --json | jq '.[].message'")]
    Events {
        /// List only events of this kind
        #[arg(long, value_parser = one_of::<EventKind>(EventKind::all().map(EventKind::name)))]
        kind: Option<EventKind>,

        /// List only the newest NUMBER events
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: usize,

        #[command(flatten)]
        output: Output,
    },

    /// List who did what, from where, and whether it was permitted, newest first
    ///
    /// Failed logins, denied requests, pushed manifests, deletions, changes of policies, accounts and roles, and what
    /// was done with this command. Pulls are recorded only if they were denied. Identical events within a minute are
    /// one entry.
    #[command(after_help = "\
Examples:
  orlop audit
  orlop audit team/ --outcome denied
  orlop audit --user ann --since 2026-01-31T00:00:00Z --json")]
    Audit(AuditArgs),

    /// Check the settings, and print the effective ones
    CheckConfig(Output),

    /// Translate the configuration of another registry
    #[command(subcommand)]
    Config(ConfigCommand),

    /// Show disk usage, in total and by repository, and reclaimable space
    ///
    /// Sizes are the space used on the disk. A repository's exclusive part is what its removal would free; the rest is
    /// shared with others.
    #[command(after_help = "\
Examples:
  orlop usage
  orlop usage team/
  orlop usage library/app --json | jq .usage.exclusive")]
    Usage {
        /// Repository, or prefix with a slash at its end; without it, everything
        #[arg(value_name = "REPO|PREFIX/", default_value = "", hide_default_value = true)]
        scope: Scope,

        #[command(flatten)]
        output: Output,
    },

    /// Show why a tag's manifest, a manifest or a blob is kept, and what its removal would free
    #[command(after_help = "\
Examples:
  orlop why library/app:latest
  orlop why library/app@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
  orlop why sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 --json")]
    Why {
        /// Digest, or a tag or digest in a repository
        #[arg(value_name = "DIGEST|REPO:TAG|REPO@DIGEST")]
        subject: WhyTarget,

        #[command(flatten)]
        output: Output,
    },

    /// List repositories, with their sizes, pushes and pulls
    #[command(after_help = "\
Examples:
  orlop repos
  orlop repos team/ --sort size
  orlop repos --json | jq '.[].name'")]
    Repos {
        /// List only repositories whose names begin with PREFIX
        prefix: Option<String>,

        #[command(flatten)]
        list: ListArgs,
    },

    /// List the tags of a repository, with their sizes, pushes, pulls and platforms
    #[command(after_help = "\
Examples:
  orlop tags team/app
  orlop tags team/app --sort pushed --limit 10
  orlop tags team/app --search rc --json | jq '.[].digest'")]
    Tags {
        /// Repository name
        repository: String,

        #[command(flatten)]
        list: ListArgs,
    },

    /// List, restore or permanently delete removed content
    #[command(subcommand)]
    Trash(TrashCommand),

    /// Show the history of a tag, roll it back, or remove it
    #[command(subcommand)]
    Tag(TagCommand),

    /// Delete, rename or restore a whole repository
    #[command(subcommand)]
    Repo(RepoCommand),

    /// Preview and apply retention policies, and manage them
    #[command(subcommand)]
    Retention(RetentionCommand),

    /// Create, list and remove users
    #[command(subcommand)]
    User(UserCommand),

    /// Manage organisations, teams and roles
    #[command(subcommand)]
    Org(OrgCommand),

    /// Create, list and revoke access tokens
    #[command(subcommand)]
    Token(TokenCommand),

    /// Show whether a user has a permission on a repository, and why
    ///
    /// Exits with 1 if the user does not have it.
    #[command(after_help = "\
Examples:
  orlop can ann push team/app
  orlop can @everybody pull public/app")]
    Can {
        /// User name, or @everybody for anonymous users
        user: String,

        /// Action: pull, push, delete or admin
        action: Role,

        /// Repository name
        repository: RepoName,

        #[command(flatten)]
        output: Output,
    },

    /// Take over the images of a registry:2 or 3 from its directory, without copying them
    ///
    /// Everything in the tree is shared by hard links, and the old registry can be started again on it. Run it again to
    /// take what was pushed there since. The data goes to the data directory if that holds a registry, and otherwise to
    /// PATH/orlop, where `orlop serve` finds it. No policy removes what was adopted before it is released.
    #[command(after_help = "\
Examples:
  orlop adopt /var/lib/registry --plan
  docker compose run --rm --user 0 registry adopt /var/lib/registry
  orlop adopt /var/lib/registry --release
  orlop adopt /var/lib/registry --finish")]
    Adopt(AdoptArgs),

    /// Create or update a backup in DIR
    ///
    /// A running server continues to serve; it frees the space of content deleted meanwhile afterwards. Only blobs that
    /// DIR does not have yet are copied. If interrupted, the previous backup stays intact. With a running server, DIR
    /// is a path as the server sees it.
    ///
    /// The backup is itself a data directory: `orlop fsck --data DIR` checks it.
    #[command(after_help = "\
Examples:
  orlop backup /mnt/backup/registry
  docker exec registry /orlop backup /backup")]
    Backup {
        /// Directory of the backup; created if missing
        dir: PathBuf,

        #[command(flatten)]
        output: Output,
    },

    /// Restore the backup in DIR to an empty data directory, and verify it
    ///
    /// If interrupted, it can be run again. Uploads that were in progress when the backup was made are lost; clients
    /// must start them again.
    #[command(after_help = "\
Examples:
  orlop restore /mnt/backup/registry --data /srv/registry")]
    Restore {
        /// Directory of the backup
        dir: PathBuf,

        #[command(flatten)]
        output: Output,
    },

    /// Write the images to DIR in a layout that other programs read
    ///
    /// `--layout distribution` writes the storage of registry:2 and registry:3, which serve DIR as it is. `--layout oci`
    /// writes an OCI image layout for each repository, to DIR/REPOSITORY.
    ///
    /// Blobs are hard links where DIR is on the same filesystem, and copies elsewhere. DIR may be new, hold an earlier
    /// export, or, for `distribution`, the storage of a registry:2: the export adds what is missing and moves tags, and
    /// removes nothing. A running server continues to serve. With a running server, DIR is a path as the server sees it.
    /// Exits with 1 if something could not be exported.
    #[command(after_help = "\
Examples:
  orlop export --layout distribution /mnt/registry2
  orlop export --layout oci /mnt/images --repo team/app --repo team/web
  docker exec registry /orlop export --layout distribution /var/lib/registry")]
    Export(ExportArgs),

    /// Check whether a push to the running server would work
    ///
    /// For container health checks: needs no shell and no network tool. Exits with 0 if a push would work.
    Healthcheck,
}

impl Cli {
    /// Returns the sources of the settings.
    fn sources(&self) -> Sources {
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

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    disable_core_files();
    // Images and password hashes are secret, so all created files are readable by their owner only.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            write_error(&format!("error: {}", Chain(&failure)));
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // It needs no settings, and may run where there are none yet.
    if let Command::Config(command) = cli.command {
        return config_import::run(command);
    }
    let config = Config::load(&cli.sources())?;
    // A restore fills the directory that is set.
    let config = match cli.command {
        Command::Restore { .. } => config,
        _ => with_adopted_data(config),
    };
    match cli.command {
        Command::Config(command) => config_import::run(command),
        Command::Serve(arguments) => serve::run(config, arguments.accept_loss),
        Command::Adopt(arguments) => adopt::run(config, &arguments),
        Command::CheckConfig(output) => check_config::run(cli.common.config.as_deref(), &config, output.json),
        Command::Healthcheck => healthcheck::run(&config),
        Command::Gc { dry_run, output } => operate::run(&config, Operation::Gc { dry_run }, output.json),
        Command::Fsck { repair, output } => operate::run(&config, Operation::Fsck { repair }, output.json),
        Command::Scrub { now, rate, output } => {
            let rate = rate.map(|rate| rate.0);
            operate::run(&config, Operation::Scrub { now, rate }, output.json)
        }
        Command::Events { kind, limit, output } => logs::events(&config, kind, limit, output.json),
        Command::Audit(filter) => logs::audit(&config, filter),
        Command::Usage { scope, output } => usage::run(&config, scope, output.json),
        Command::Why { subject, output } => why::run(&config, &subject, output.json),
        Command::Backup { dir, output } => {
            let dir = operate::absolute(&dir)?;
            operate::run(&config, Operation::Backup { dir }, output.json)
        }
        Command::Export(arguments) => export::run(&config, arguments),
        Command::Repos { prefix, list } => list::repositories(&config, prefix, &list),
        Command::Tags { repository, list } => list::tags(&config, &repository, &list),
        Command::Trash(command) => trash::run(&config, command),
        Command::Tag(command) => tag::run(&config, command),
        Command::Repo(command) => repo::run(&config, command),
        Command::Retention(command) => retention::run(&config, command),
        Command::User(command) => user::run(&config, command),
        Command::Org(command) => org::run(&config, command),
        Command::Token(command) => token::run(&config, command),
        Command::Can { user, action, repository, output } => {
            org::can(&config, &user, action, &repository, output.json)
        }
        Command::Restore { dir, output } => operate::run_restore(&config, &dir, output.json),
    }
}

/// Parses the read rate of a scrub.
fn rate(text: &str) -> Result<Size, String> {
    match text.parse() {
        Ok(size) if size < MIN_SCRUB_RATE => Err(format!("must be at least {MIN_SCRUB_RATE}")),
        parsed => parsed,
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
