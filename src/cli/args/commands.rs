//! The commands, with what each takes.

use std::path::PathBuf;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::accounts::{OrgCommand, TokenCommand, UserCommand};
use super::{
    AuditArgs, ListArgs, Output, RepoCommand, RetentionCommand, ServeArgs, TagCommand, TrashCommand,
};
use crate::cli::why::Subject;
use crate::config::{MIN_SCRUB_RATE, Size};
use crate::metadata::{EventKind, Role, Scope};
use crate::oci::RepoName;

/// The commands.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
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
        rate: Option<Size>,

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

    /// Tell who did what, from where, and whether they were allowed to, newest first
    ///
    /// Logins that failed, requests that were denied, pushes of manifests, deletes, changes of policies, accounts and
    /// roles, and what was done by this command. Pulls are not in it, unless they were denied. What is the same within a
    /// minute is one entry.
    #[command(after_help = "\
Examples:
  orlop audit
  orlop audit team/ --outcome denied
  orlop audit --user ann --since 2026-01-31T00:00:00Z --json")]
    Audit(AuditArgs),

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

    /// Make, list and remove users
    #[command(subcommand)]
    User(UserCommand),

    /// Look after organisations, their teams, and who has which role
    #[command(subcommand)]
    Org(OrgCommand),

    /// Make, list and revoke access tokens
    #[command(subcommand)]
    Token(TokenCommand),

    /// Tell whether a user may do something to a repository, and why
    ///
    /// Exits with 1 if not.
    #[command(after_help = "\
Examples:
  orlop can ann push team/app
  orlop can @everybody pull public/app")]
    Can {
        /// The user, or @everybody for whoever has no login
        user: String,

        /// pull, push, delete or admin
        action: Role,

        /// The repository
        repository: RepoName,

        #[command(flatten)]
        output: Output,
    },

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
fn rate(text: &str) -> Result<Size, String> {
    match text.parse() {
        Ok(size) if size < MIN_SCRUB_RATE => Err(format!("must be at least {MIN_SCRUB_RATE}")),
        parsed => parsed,
    }
}

/// Every kind of event by its name.
fn event_kinds() -> impl TypedValueParser<Value = EventKind> {
    PossibleValuesParser::new(EventKind::all().map(EventKind::name)).try_map(|name| name.parse::<EventKind>())
}
