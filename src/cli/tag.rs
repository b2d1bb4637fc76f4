//! `orlop tag`.

use std::process::ExitCode;

use http::Method;

use super::args::{TagCommand, TagName};
use super::connect::{change, list};
use super::table::{Table, print_json, when, write_out};
use super::{Failure, exit_code, start};
use crate::config::Config;
use crate::http::api::{ChangeKind, Event, PageParameters, RollbackRequest, RolledBack};
use crate::oci::Digest;
use crate::server::admin::path;

pub(super) fn run(config: &Config, command: TagCommand) -> Result<ExitCode, Failure> {
    match command {
        TagCommand::History { tag, limit, output } => history(config, &tag, limit, output.json),
        TagCommand::Rollback { tag, to, output } => rollback(config, &tag, to.as_ref(), output.json),
        TagCommand::Delete { tag } => delete(config, &tag),
    }
}

fn path_of(name: &TagName, more: &[&str]) -> String {
    path(&[&["repositories", name.repository.as_str(), "tags", name.tag.as_str()], more].concat())
}

fn history(config: &Config, tag: &TagName, limit: Option<usize>, json: bool) -> Result<ExitCode, Failure> {
    let path = path_of(tag, &["history"]);
    let found: Vec<Event> = start()?.block_on(list(config, &path, PageParameters::default(), limit))?;
    if json {
        print_json(&found);
        return Ok(exit_code(true));
    }
    let mut table = Table::new(["AT (UTC)", "CHANGE", "DIGEST", "BY", "REASON"]);
    for event in found {
        table.row([
            when(Some(event.at)),
            verb(event.kind).into(),
            event.digest.unwrap_or_else(|| "(none)".into()),
            event.by.unwrap_or_default(),
            event.reason.unwrap_or_default(),
        ]);
    }
    table.print();
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
    if json {
        print_json(&back);
        return Ok(exit_code(true));
    }
    let from = back.from.map_or_else(|| "did not exist".into(), |from| format!("pointed at {from}"));
    write_out(&format!("{}:{} {from}; it now points at {}\n", tag.repository, tag.tag, back.to));
    Ok(exit_code(true))
}

fn delete(config: &Config, tag: &TagName) -> Result<ExitCode, Failure> {
    change::<(), ()>(config, Method::DELETE, &path_of(tag, &[]), None)?;
    write_out(&format!(
        "removed {0}:{1}; orlop trash restore {0}:{1} restores it\n",
        tag.repository, tag.tag
    ));
    Ok(exit_code(true))
}
