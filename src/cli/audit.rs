//! `orlop audit`.

use std::process::ExitCode;

use super::args::AuditArgs;
use super::connect::list;
use super::table::{print_list, when};
use super::{Failure, exit_code};
use crate::config::Config;
use crate::http::api::{AuditParameters, Audited};
use crate::metadata::Scope;

/// Lists the newest entries of the audit log that match `filter`.
pub(super) fn run(config: &Config, filter: AuditArgs) -> Result<ExitCode, Failure> {
    let AuditArgs { scope, user, action, outcome, since, until, limit, output } = filter;
    let parameters = AuditParameters { user, scope, action, outcome, since, until, limit: None, after: None };
    let found: Vec<Audited> = list(config, &["audit"], parameters, Some(limit))?;
    let heads = ["AT (UTC)", "USER", "FROM", "ACTION", "SUBJECT", "OUTCOME", ">TIMES"];
    print_list(&found, output.json, heads, |entry| {
        let status = entry.status.map(|status| format!(" {status}")).unwrap_or_default();
        [
            when(Some(entry.last_at)),
            format_user(entry),
            entry.from.clone(),
            entry.action.to_string(),
            format_subject(entry),
            format!("{}{status}", entry.outcome),
            entry.count.to_string(),
        ]
    });
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
