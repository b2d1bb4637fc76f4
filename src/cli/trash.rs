//! `orlop trash`.

use std::process::ExitCode;

use http::Method;

use super::args::{RestoreTarget, TrashCommand};
use super::confirm::confirm;
use super::connect::{self, change};
use super::output::count;
use super::table::{print_list, print_result, when};
use super::{Failure, exit_code, repo};
use crate::config::Config;
use crate::http::api::{
    Emptied, EmptyRequest, Removed, RemovedKind, RestoreRequest, Restored, TrashParameters,
};
use crate::oci::RepoName;

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
