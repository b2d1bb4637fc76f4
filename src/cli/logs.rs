//! `orlop audit` and `orlop events`: the logs that the registry keeps in its database.

use std::process::ExitCode;

use clap::Args;

use super::args::{Output, one_of};
use super::connect::list;
use super::failure::{Failure, exit_code};
use super::terminal::{print_list, when};
use crate::config::Config;
use crate::http::api::{AuditParameters, Audited, EventParameters, StoreEvent, Time};
use crate::metadata::{AuditAction, AuditOutcome, EventKind, Scope};

/// Filter and output format of `orlop audit`.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Repository, or prefix with a slash at its end; without it, everything
    #[arg(value_name = "REPO|PREFIX/", default_value = "", hide_default_value = true)]
    pub(super) scope: Scope,

    /// List only entries of this user; for failed logins, the name that was tried
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,

    /// List only entries with this action
    #[arg(long, value_parser = one_of::<AuditAction>(AuditAction::all().map(AuditAction::name)))]
    pub(super) action: Option<AuditAction>,

    /// List only entries with this outcome
    #[arg(long, value_parser = one_of::<AuditOutcome>(AuditOutcome::ALL.map(AuditOutcome::name)))]
    pub(super) outcome: Option<AuditOutcome>,

    /// List only entries from this time on, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) since: Option<Time>,

    /// List only entries before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) until: Option<Time>,

    /// List only the newest NUMBER entries
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub(super) limit: usize,

    #[command(flatten)]
    pub(super) output: Output,
}

/// Lists the newest entries of the audit log that match `filter`.
pub(super) fn audit(config: &Config, filter: AuditArgs) -> Result<ExitCode, Failure> {
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

/// Parses a time in RFC 3339 format.
fn time(text: &str) -> Result<Time, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Lists the newest `limit` events, optionally of one kind.
pub(super) fn events(
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
