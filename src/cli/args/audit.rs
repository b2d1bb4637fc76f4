//! What `orlop audit` takes.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::Output;
use crate::http::api::Time;
use crate::metadata::{AuditAction, AuditOutcome, Scope};

/// Which entries, and how they are told.
#[derive(Debug, Args)]
pub(in crate::cli) struct AuditArgs {
    /// A repository, or a prefix with a slash at its end; without one, all of them
    #[arg(value_name = "REPO|PREFIX/", default_value = "", hide_default_value = true)]
    pub(in crate::cli) scope: Scope,

    /// Only what this user did; of a login that failed, the name that was tried
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) user: Option<String>,

    /// Only this action
    #[arg(long, value_parser = actions())]
    pub(in crate::cli) action: Option<AuditAction>,

    /// Only what came to this
    #[arg(long, value_parser = outcomes())]
    pub(in crate::cli) outcome: Option<AuditOutcome>,

    /// Only from this time on, as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(in crate::cli) since: Option<Time>,

    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(in crate::cli) until: Option<Time>,

    /// The newest NUMBER
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

/// A point in time as RFC 3339 writes it.
fn time(text: &str) -> Result<Time, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}
