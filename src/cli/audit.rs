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

/// Lists the newest entries of the audit log that match `filter`.
pub(super) fn run(config: &Config, filter: AuditArgs) -> Result<ExitCode, Failure> {
    let AuditArgs { scope, user, action, outcome, since, until, limit, output } = filter;
    let parameters = AuditParameters { user, scope, action, outcome, since, until, limit: None, after: None };
    let found: Vec<Audited> = start()?.block_on(list(config, &path(&["audit"]), parameters, Some(limit)))?;
    if output.json {
        print_json(&found);
        return Ok(exit_code(true));
    }
    let mut table = Table::new(["AT (UTC)", "USER", "FROM", "ACTION", "SUBJECT", "OUTCOME", ">TIMES"]);
    for entry in found {
        let at = when(Some(entry.last_at));
        let times = entry.count.to_string();
        let status = entry.status.map(|status| format!(" {status}")).unwrap_or_default();
        let outcome = format!("{}{status}", entry.outcome);
        let user = format_user(&entry);
        let subject = format_subject(&entry);
        table.row([at, user, entry.from, entry.action.to_string(), subject, outcome, times]);
    }
    table.print();
    Ok(exit_code(true))
}

/// Formats the user and the access token.
fn format_user(entry: &Audited) -> String {
    match (&entry.user, &entry.token) {
        (user, Some(token)) => format!("{} (token {token})", user.as_deref().unwrap_or("-")),
        (user, None) => user.clone().unwrap_or_else(|| "-".into()),
    }
}

/// Formats the subject: a tag or digest in a repository, or another object.
fn format_subject(entry: &Audited) -> String {
    match (&entry.scope, &entry.subject) {
        (Scope::All, subject) => subject.clone().unwrap_or_else(|| "-".into()),
        (scope, None) => scope.to_string(),
        (Scope::One(name), Some(digest)) if digest.starts_with("sha") && digest.contains(':') => {
            format!("{name}@{digest}")
        }
        (scope, Some(subject)) => format!("{scope} {subject}"),
    }
}
