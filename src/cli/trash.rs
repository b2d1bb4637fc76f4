//! `orlop trash`.

use std::process::ExitCode;
use std::str::FromStr;

use clap::Subcommand;
use http::Method;

use super::args::{Confirmation, Output};
use super::connect::{self, change};
use super::failure::{Failure, exit_code};
use super::repo;
use super::tag::{TagName, parse_part};
use super::terminal::{confirm, count, print_list, print_result, when};
use crate::config::Config;
use crate::http::api::{
    Emptied, EmptyRequest, Removed, RemovedKind, RestoreRequest, Restored, TrashParameters,
};
use crate::oci::{Digest, RepoName};

/// What `orlop trash restore` restores.
#[derive(Debug, Clone)]
pub(super) enum RestoreTarget {
    /// A manifest.
    Manifest(RepoName, Digest),
    /// A tag.
    Tag(TagName),
    /// A repository.
    Repository(RepoName),
}

impl FromStr for RestoreTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((repository, digest)) = text.split_once('@') {
            return Ok(Self::Manifest(parse_part("repository", repository)?, parse_part("digest", digest)?));
        }
        if text.contains(':') {
            return Ok(Self::Tag(text.parse()?));
        }
        Ok(Self::Repository(parse_part("repository", text)?))
    }
}

/// Actions on the trash.
#[derive(Debug, Subcommand)]
pub(super) enum TrashCommand {
    /// List what can be restored, newest first
    #[command(after_help = "\
Examples:
  orlop trash list
  orlop trash list team/app --json | jq '.[].tags[].name'")]
    List {
        /// Repository; without it, all of them
        repository: Option<RepoName>,

        /// List only the first NUMBER items
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,

        #[command(flatten)]
        output: Output,
    },

    /// Restore a manifest with its tags, a tag with its manifest, or a deleted repository
    #[command(after_help = "\
Examples:
  orlop trash restore team/app:latest
  orlop trash restore team/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  orlop trash restore team/app")]
    Restore {
        /// REPO@DIGEST, REPO:TAG or REPO, as `orlop trash list` shows it
        #[arg(value_name = "WHAT")]
        target: RestoreTarget,

        #[command(flatten)]
        output: Output,
    },

    /// Permanently delete what is in the trash
    ///
    /// It cannot be restored afterwards. The garbage collector frees its space when its leases have expired: gc.lease
    /// after each removal, and as long again for the children of an index and for signatures.
    Empty {
        /// Repository; without it, all of them
        repository: Option<RepoName>,

        #[command(flatten)]
        confirmation: Confirmation,

        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(config: &Config, command: TrashCommand) -> Result<ExitCode, Failure> {
    match command {
        TrashCommand::List { repository, limit, output } => list(config, repository, limit, output.json),
        TrashCommand::Restore { target, output } => restore(config, target, output.json),
        TrashCommand::Empty { repository, confirmation, output } => {
            let scope = repository.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
            confirm(&confirmation, &format!("Permanently delete everything in the trash{scope}?"))?;
            empty(config, repository, output.json)
        }
    }
}

fn list(
    config: &Config,
    repository: Option<RepoName>,
    limit: Option<usize>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let repository = repository.map(|name| name.to_string());
    let parameters = TrashParameters { repository, ..TrashParameters::default() };
    let found: Vec<Removed> = connect::list(config, &["trash"], parameters, limit)?;
    let heads = ["REMOVED (UTC)", "KEPT UNTIL (UTC)", "ITEM", "TAGS", "REASON"];
    print_list(&found, json, heads, |removed| {
        [
            when(Some(removed.removed_at)),
            when(Some(removed.kept_until)),
            item_name(removed),
            tags(removed),
            removed.tags.first().and_then(|tag| tag.reason.clone()).unwrap_or_default(),
        ]
    });
    Ok(exit_code(true))
}

/// Names an item in the form that `restore` accepts.
fn item_name(removed: &Removed) -> String {
    let Removed { repository, digest, tags, .. } = removed;
    match (removed.kind, tags.first()) {
        (RemovedKind::Tag, Some(tag)) => format!("{repository}:{}", tag.name),
        _ => format!("{repository}@{digest}"),
    }
}

/// Lists the tags that were removed with a manifest.
fn tags(removed: &Removed) -> String {
    match removed.kind {
        RemovedKind::Tag => String::new(),
        RemovedKind::Manifest => {
            removed.tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>().join(", ")
        }
    }
}

fn restore(config: &Config, target: RestoreTarget, json: bool) -> Result<ExitCode, Failure> {
    let request = match target {
        RestoreTarget::Repository(name) => return repo::restore(config, &name, json),
        RestoreTarget::Manifest(name, digest) => {
            RestoreRequest { repository: name.to_string(), digest: Some(digest.to_string()), tag: None }
        }
        RestoreTarget::Tag(name) => RestoreRequest {
            repository: name.repository.to_string(),
            digest: None,
            tag: Some(name.tag.to_string()),
        },
    };
    let restored: Restored = change(config, Method::POST, &["trash", "restore"], Some(&request))?;
    print_result(&restored, json, |restored| to_text(&request, restored));
    Ok(exit_code(true))
}

fn to_text(request: &RestoreRequest, restored: &Restored) -> String {
    let repository = &request.repository;
    let mut text = String::new();
    for digest in &restored.manifests {
        text += &format!("restored {repository}@{digest}\n");
    }
    for tag in &restored.tags {
        text += &match &request.tag {
            Some(requested) if requested == tag => {
                format!("restored {repository}:{tag}; it points at {}\n", restored.digest)
            }
            _ => format!("restored {repository}:{tag}\n"),
        };
    }
    for tag in &restored.taken {
        text += &format!("{repository}:{tag} has been pushed again and is left unchanged\n");
    }
    text
}

fn empty(config: &Config, repository: Option<RepoName>, json: bool) -> Result<ExitCode, Failure> {
    let request = EmptyRequest { repository: repository.map(|name| name.to_string()) };
    let emptied: Emptied = change(config, Method::POST, &["trash", "empty"], Some(&request))?;
    print_result(&emptied, json, |emptied| {
        let mut text = format!("permanently deleted {}\n", count(emptied.manifests, "manifest"));
        if emptied.manifests > 0 {
            let from = when(Some(emptied.collected_from));
            text += &format!(
                "the garbage collector frees their space from {from} (UTC) on, and that of children and \
                 signatures removed with them gc.lease later; content that is still referenced stays\n"
            );
        }
        text
    });
    Ok(exit_code(true))
}
