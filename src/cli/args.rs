//! What can be said on the command line. The comments here are what `--help` shows.

mod retention;
mod undo;

use std::net::SocketAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

pub(super) use self::undo::{Asking, Back, RepoCommand, TagCommand, TagName, TrashCommand};
use super::why::Subject;

use crate::config::{Flag, Sources};
use crate::metadata::{EventKind, Scope};

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

gc, fsck, scrub, events, usage, why, backup, repos, tags, trash, tag, repo and retention work on a stopped store and beside a running server, which then \
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
    pub(super) listen: Option<SocketAddr>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the registry
    ///
    /// Creates the data directory if there is none. Ends on SIGTERM or SIGINT after running transfers have
    /// finished, at most server.drain_timeout later; a second signal ends it at once.
    #[command(after_help = "\
Examples:
  orlop serve
  orlop serve --data /srv/registry --listen 127.0.0.1:5000
  ORLOP_STORAGE__READ_ONLY=true orlop serve --config /etc/orlop.toml")]
    Serve(ServeArgs),

    /// Give back the space of what nobody refers to any more
    ///
    /// A server does this by itself, every gc.interval. Only what is due goes: leases, the trash time and
    /// the time for untagged manifests are honoured.
    #[command(after_help = "\
Examples:
  orlop gc --dry-run
  orlop gc --json | jq .bytes")]
    Gc {
        /// Tell what would go, and change nothing
        #[arg(long)]
        dry_run: bool,

        #[command(flatten)]
        output: Output,
    },

    /// Check the store: read every byte, check each digest, count and reference
    ///
    /// Exits with 1 when something is wrong: bytes that are missing or damaged, a manifest whose parts are
    /// not there, a database that contradicts itself, bytes that nothing refers to. Files that are not the
    /// registry's are listed, and are no problem.
    ///
    /// --repair hides damaged blobs, so that the next push of them brings their bytes back, shows those again
    /// that turn out to be sound, and removes bytes that nothing refers to. It never removes what a record
    /// names, nor what it does not know.
    #[command(after_help = "\
Examples:
  orlop fsck
  orlop fsck --json | jq '.problems[].subject'")]
    Fsck {
        /// Mend what can be mended
        #[arg(long)]
        repair: bool,

        #[command(flatten)]
        output: Output,
    },

    /// Tell how far the scrub is and what it has set aside, or read everything once now
    ///
    /// A server reads every byte by itself, evenly over scrub.period, and checks it against its digest. What is
    /// damaged is set aside: absent to everyone, while all that refers to it stays, so that the next push of it
    /// heals it. Nothing is removed. Exits with 1 when something is damaged.
    #[command(after_help = "\
Examples:
  orlop scrub
  orlop scrub --now --rate 50MiB")]
    Scrub {
        /// Read everything now, as fast as it goes
        #[arg(long)]
        now: bool,

        /// The most to read in a second, such as 50MiB
        #[arg(long, value_name = "SIZE", requires = "now", value_parser = rate)]
        rate: Option<ByteSize>,

        #[command(flatten)]
        output: Output,
    },

    /// Tell what happened to the store while nobody was looking, newest first
    ///
    /// Blobs that were found damaged, and healed; a budget or a disk without room, a clock that was wrong, and when
    /// that was over; what policies let go, and who changed them; repositories deleted, restored and renamed.
    #[command(after_help = "\
Examples:
  orlop events
  orlop events --kind blob-damaged --limit 5
  orlop events --json | jq '.[].message'")]
    Events {
        /// Only events of this kind
        #[arg(long, value_parser = event_kinds())]
        kind: Option<EventKind>,

        /// The newest NUMBER
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: usize,

        #[command(flatten)]
        output: Output,
    },

    /// Check the settings, and print those that are in force
    CheckConfig(Output),

    /// Tell what is used, in all and by each repository, and what may go
    ///
    /// Sizes are what the disk really spends. A repository's own part is what its removal would free; the rest
    /// it shares with others.
    #[command(after_help = "\
Examples:
  orlop usage
  orlop usage team/
  orlop usage library/app --json | jq .usage.exclusive")]
    Usage {
        /// A repository, or a prefix with a slash at its end; without one, all of them
        #[arg(value_name = "REPO|PREFIX/", default_value = "", hide_default_value = true)]
        scope: Scope,

        #[command(flatten)]
        output: Output,
    },

    /// Tell what keeps a tag's manifest, a manifest or a blob, and what would come free without it
    #[command(after_help = "\
Examples:
  orlop why library/app:latest
  orlop why library/app@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824
  orlop why sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 --json")]
    Why {
        /// What: a digest alone, or a tag or a digest in a repository
        #[arg(value_name = "DIGEST|REPO:TAG|REPO@DIGEST")]
        subject: Subject,

        #[command(flatten)]
        output: Output,
    },

    /// List the repositories, with their sizes, pushes and pulls
    #[command(after_help = "\
Examples:
  orlop repos
  orlop repos team/ --sort size
  orlop repos --json | jq '.[].name'")]
    Repos {
        /// Only those whose names begin with this
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
        /// The repository
        repository: String,

        #[command(flatten)]
        list: ListArgs,
    },

    /// List what was removed, bring it back, or give it up
    #[command(subcommand)]
    Trash(TrashCommand),

    /// Tell what happened to a tag, point it back, or remove it
    #[command(subcommand)]
    Tag(TagCommand),

    /// Delete, rename or restore a whole repository
    #[command(subcommand)]
    Repo(RepoCommand),

    /// Tell what policies would let go, let it go, and look after policies
    #[command(subcommand)]
    Retention(RetentionCommand),

    /// Make a backup in DIR, or bring the one there up to date
    ///
    /// Works beside a running server, which goes on serving; what is deleted meanwhile gives its space back
    /// afterwards. Only blobs that DIR does not have yet are copied. Cut off, it leaves the previous backup
    /// as it was. Beside a running server DIR is a path as the server sees it.
    ///
    /// The backup is itself a data directory: `orlop fsck --data DIR` checks it.
    #[command(after_help = "\
Examples:
  orlop backup /mnt/backup/registry
  docker exec registry /orlop backup /backup")]
    Backup {
        /// Where; made if it is not there
        dir: PathBuf,

        #[command(flatten)]
        output: Output,
    },

    /// Restore the backup in DIR to an empty data directory, and verify it
    ///
    /// Cut off, it can be run again. Uploads that were in progress when the backup was made are gone; their
    /// clients begin anew.
    #[command(after_help = "\
Examples:
  orlop restore /mnt/backup/registry --data /srv/registry")]
    Restore {
        /// The backup
        dir: PathBuf,

        #[command(flatten)]
        output: Output,
    },

    /// Ask the running server whether a push would work
    ///
    /// For containers: needs no shell and no network tool. Exits with 0 if it would.
    Healthcheck,
}

/// A rate that something can be read at.
fn rate(text: &str) -> Result<ByteSize, String> {
    match text.parse() {
        Ok(ByteSize(0)) => Err("must be more than nothing".into()),
        parsed => parsed,
    }
}

/// Every kind of event by its name.
fn event_kinds() -> impl TypedValueParser<Value = EventKind> {
    PossibleValuesParser::new(EventKind::all().map(EventKind::name)).try_map(|name| name.parse::<EventKind>())
}

impl Cli {
    /// Where the settings come from.
    pub(super) fn sources(&self) -> Sources {
        let mut flags = Vec::new();
        if let Some(data) = &self.common.data {
            let value = data.to_string_lossy().into_owned();
            flags.push(Flag { name: "--data", key: "storage.data", value });
        }
        if let Command::Serve(ServeArgs { listen: Some(address) }) = &self.command {
            let value = address.to_string();
            flags.push(Flag { name: "--listen", key: "server.listen", value });
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
