//! Arguments of `orlop audit`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::Output;
use crate::http::api::Time;
use crate::metadata::{AuditAction, AuditOutcome, Scope};

/// Filter and output format of `orlop audit`.
#[derive(Debug, Args)]
pub(in crate::cli) struct AuditArgs {
    /// Repository, or prefix with a slash at its end; without it, everything
    #[arg(value_name = "REPO|PREFIX/", default_value = "", hide_default_value = true)]
    pub(in crate::cli) scope: Scope,

    /// List only entries of this user; for failed logins, the name that was tried
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) user: Option<String>,

    /// List only entries with this action
    #[arg(long, value_parser = actions())]
    pub(in crate::cli) action: Option<AuditAction>,

    /// List only entries with this outcome
    #[arg(long, value_parser = outcomes())]
    pub(in crate::cli) outcome: Option<AuditOutcome>,

    /// List only entries from this time on, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(in crate::cli) since: Option<Time>,

    /// List only entries before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(in crate::cli) until: Option<Time>,

    /// List only the newest NUMBER entries
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub(in crate::cli) limit: usize,

    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

fn actions() -> impl TypedValueParser<Value = AuditAction> {
    PossibleValuesParser::new(AuditAction::all().map(AuditAction::name))
        .try_map(|name| name.parse::<AuditAction>())
}

fn outcomes() -> impl TypedValueParser<Value = AuditOutcome> {
    let names = PossibleValuesParser::new(AuditOutcome::ALL.map(AuditOutcome::name));
    names.try_map(|name| name.parse::<AuditOutcome>())
}

/// Parses a time in RFC 3339 format.
fn time(text: &str) -> Result<Time, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}
