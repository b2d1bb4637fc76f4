//! `orlop tag`.

use std::fmt::Display;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Subcommand;
use http::Method;

use super::args::Output;
use super::connect::{change, list, remove};
use super::failure::{Failure, exit_code};
use super::terminal::{print_list, print_result, when, write_out};
use crate::config::Config;
use crate::http::api::{ChangeKind, Event, PageParameters, RollbackRequest, RolledBack};
use crate::oci::{Digest, RepoName, Tag};

/// A tag with its repository, as `REPO:TAG`.
#[derive(Debug, Clone)]
pub(super) struct TagName {
    pub(super) repository: RepoName,
    pub(super) tag: Tag,
}

impl FromStr for TagName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repository, tag) = text.split_once(':').ok_or("must be REPO:TAG, such as team/app:latest")?;
        Ok(Self { repository: parse_part("repository", repository)?, tag: parse_part("tag", tag)? })
    }
}

/// Parses a part of an argument, which the error names.
pub(super) fn parse_part<T: FromStr<Err: Display>>(named: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{named}: {error}"))
}

/// Actions on a tag.
#[derive(Debug, Subcommand)]
pub(super) enum TagCommand {
    /// Show the history of a tag, newest first, even if it was removed
    History {
        /// Tag, as REPO:TAG
        #[arg(value_name = "REPO:TAG")]
        tag: TagName,

        /// Show only the first NUMBER changes
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,

        #[command(flatten)]
        output: Output,
    },

    /// Point a tag back at the manifest before its last change
    #[command(after_help = "\
Examples:
  orlop tag rollback team/app:latest
  orlop tag rollback team/app:latest \\
    --to sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Rollback {
        /// Tag, as REPO:TAG
        #[arg(value_name = "REPO:TAG")]
        tag: TagName,

        /// Digest from the tag's history to point at instead
        #[arg(long, value_name = "DIGEST")]
        to: Option<Digest>,

        #[command(flatten)]
        output: Output,
    },

    /// Remove a tag, but not its manifest; `orlop trash restore` restores it
    Delete {
        /// Tag, as REPO:TAG
        #[arg(value_name = "REPO:TAG")]
        tag: TagName,
    },
}

pub(super) fn run(config: &Config, command: TagCommand) -> Result<ExitCode, Failure> {
    match command {
        TagCommand::History { tag, limit, output } => history(config, &tag, limit, output.json),
        TagCommand::Rollback { tag, to, output } => rollback(config, &tag, to.as_ref(), output.json),
        TagCommand::Delete { tag } => delete(config, &tag),
    }
}

fn path_of<'a>(name: &'a TagName, more: &[&'a str]) -> Vec<&'a str> {
    [&["repositories", name.repository.as_str(), "tags", name.tag.as_str()], more].concat()
}

fn history(config: &Config, tag: &TagName, limit: Option<usize>, json: bool) -> Result<ExitCode, Failure> {
    let found: Vec<Event> = list(config, &path_of(tag, &["history"]), PageParameters::default(), limit)?;
    print_list(&found, json, ["AT (UTC)", "CHANGE", "DIGEST", "BY", "REASON"], |event| {
        [
            when(Some(event.at)),
            verb(event.kind).into(),
            event.digest.clone().unwrap_or_else(|| "(none)".into()),
            event.by.clone().unwrap_or_default(),
            event.reason.clone().unwrap_or_default(),
        ]
    });
    Ok(exit_code(true))
}

fn verb(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Push => "pushed",
        ChangeKind::Move => "moved",
        ChangeKind::Delete => "deleted",
        ChangeKind::Expiry => "expired",
        ChangeKind::Restore => "restored",
        ChangeKind::Rollback => "rolled back",
        ChangeKind::Rename => "renamed",
    }
}

fn rollback(config: &Config, tag: &TagName, to: Option<&Digest>, json: bool) -> Result<ExitCode, Failure> {
    let request = RollbackRequest { to: to.map(ToString::to_string) };
    let back: RolledBack = change(config, Method::POST, &path_of(tag, &["rollback"]), Some(&request))?;
    print_result(&back, json, |back| {
        let from =
            back.from.as_ref().map_or_else(|| "did not exist".into(), |from| format!("pointed at {from}"));
        format!("{}:{} {from}; it now points at {}\n", tag.repository, tag.tag, back.to)
    });
    Ok(exit_code(true))
}

fn delete(config: &Config, tag: &TagName) -> Result<ExitCode, Failure> {
    remove(config, &path_of(tag, &[]), &())?;
    write_out(&format!(
        "removed {0}:{1}; orlop trash restore {0}:{1} restores it\n",
        tag.repository, tag.tag
    ));
    Ok(exit_code(true))
}
