//! `orlop tag`.

use std::process::ExitCode;

use http::Method;

use super::args::{TagCommand, TagName};
use super::connect::{change, list, remove};
use super::table::{print_list, print_result, when, write_out};
use super::{Failure, exit_code};
use crate::config::Config;
use crate::http::api::{ChangeKind, Event, PageParameters, RollbackRequest, RolledBack};
use crate::oci::Digest;

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
