//! `orlop audit`.

use std::process::ExitCode;

use super::args::AuditArgs;
use super::connect::list;
use super::table::{Table, print_json, when};
use super::{Failure, exit_code, start};
use crate::config::Config;
use crate::http::api::{AuditParameters, Audited};
use crate::metadata::Scope;
use crate::server::admin::path;

/// Tells the newest entries of the audit log, those that are asked for.
pub(super) fn run(config: &Config, asked: AuditArgs) -> Result<ExitCode, Failure> {
    let AuditArgs { scope, user, action, outcome, since, until, limit, output } = asked;
    let parameters = AuditParameters { user, scope, action, outcome, since, until, limit: None, after: None };
    let found: Vec<Audited> = start()?.block_on(list(config, &path(&["audit"]), parameters, Some(limit)))?;
    if output.json {
        print_json(&found);
        return Ok(exit_code(true));
    }
    let mut table = Table::new(["AT (UTC)", "USER", "FROM", "ACTION", "WHAT", "OUTCOME", ">TIMES"]);
    for entry in found {
        let (at, times) = (when(Some(entry.last_at)), entry.count.to_string());
        let status = entry.status.map(|status| format!(" {status}")).unwrap_or_default();
        let outcome = format!("{}{status}", entry.outcome);
        let (user, what) = (who(&entry), what(&entry));
        table.row([at, user, entry.from, entry.action.to_string(), what, outcome, times]);
    }
    table.print();
    Ok(exit_code(true))
}

/// The user, and the access token that they came by.
fn who(entry: &Audited) -> String {
    match (&entry.user, &entry.token) {
        (user, Some(token)) => format!("{} (token {token})", user.as_deref().unwrap_or("-")),
        (user, None) => user.clone().unwrap_or_else(|| "-".into()),
    }
}

/// What it is about, as people write it: a tag or digest in a repository, or whatever else it is.
fn what(entry: &Audited) -> String {
    match (&entry.scope, &entry.subject) {
        (Scope::All, subject) => subject.clone().unwrap_or_else(|| "-".into()),
        (scope, None) => scope.to_string(),
        (Scope::One(name), Some(digest)) if digest.starts_with("sha") && digest.contains(':') => {
            format!("{name}@{digest}")
        }
        (scope, Some(subject)) => format!("{scope} {subject}"),
    }
}
