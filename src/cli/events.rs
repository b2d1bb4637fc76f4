//! `orlop events`.

use std::process::ExitCode;

use super::connect::list;
use super::table::{Table, print_json, when};
use super::{Failure, exit_code, start};
use crate::config::Config;
use crate::http::api::{EventParameters, StoreEvent};
use crate::metadata::EventKind;
use crate::server::admin::path;

/// Lists the newest `limit` events, optionally of one kind.
pub(super) fn run(
    config: &Config,
    kind: Option<EventKind>,
    limit: usize,
    json: bool,
) -> Result<ExitCode, Failure> {
    let parameters = EventParameters { kind, ..EventParameters::default() };
    let found: Vec<StoreEvent> =
        start()?.block_on(list(config, &path(&["events"]), parameters, Some(limit)))?;
    if json {
        print_json(&found);
        return Ok(exit_code(true));
    }
    let mut table = Table::new(["AT (UTC)", "KIND", "MESSAGE"]);
    for event in found {
        table.row([when(Some(event.at)), event.kind.to_string(), event.message]);
    }
    table.print();
    Ok(exit_code(true))
}
