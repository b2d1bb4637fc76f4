//! `orlop events`.

use std::process::ExitCode;

use super::connect::list;
use super::table::{print_list, when};
use super::{Failure, exit_code};
use crate::config::Config;
use crate::http::api::{EventParameters, StoreEvent};
use crate::metadata::EventKind;

/// Lists the newest `limit` events, optionally of one kind.
pub(super) fn run(
    config: &Config,
    kind: Option<EventKind>,
    limit: usize,
    json: bool,
) -> Result<ExitCode, Failure> {
    let parameters = EventParameters { kind, ..EventParameters::default() };
    let found: Vec<StoreEvent> = list(config, &["events"], parameters, Some(limit))?;
    print_list(&found, json, ["AT (UTC)", "KIND", "MESSAGE"], |event| {
        [when(Some(event.at)), event.kind.to_string(), event.message.clone()]
    });
    Ok(exit_code(true))
}
