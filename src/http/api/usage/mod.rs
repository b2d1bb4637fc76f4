//! Storage usage and its growth.

mod report;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::Problem;
use super::extract::InQuery;
use super::problem::Errors;
use super::rights::{RegistryReader, Requester};
use super::routes::{Routes, routes};
use crate::metadata::Scope;
use crate::oci::RepoName;

pub use report::*;

/// The number of days of growth that are reported; more are not needed to compare.
const MAX_USAGE_DAYS: usize = 400;

/// Selects the scope of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageParameters {
    /// A repository, or a prefix of repository names that ends with a slash; all repositories by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(
        example = "team/",
        pattern = r"^([a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*/?)?$",
        max_length = 255
    )]
    pub scope: Option<String>,
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(get)).routes(routes!(days))
}

/// Reports how much storage repositories use, what can be removed, and when. Requires the right to pull
/// everything in the scope. A report about a part of the registry contains nothing about the rest.
#[utoipa::path(
    get, path = "/usage", operation_id = "getUsage", tag = "usage", params(UsageParameters),
    responses((status = OK, description = "The current usage.", body = UsageReport), Errors)
)]
async fn get(
    requester: Requester,
    InQuery(UsageParameters { scope }): InQuery<UsageParameters>,
) -> Result<Json<UsageReport>, Problem> {
    let scope = scope.unwrap_or_default().parse::<Scope>();
    let scope = scope.map_err(|error| Problem::bad(format_args!("scope: {error}")))?;
    let registry_reader = requester.registry_reader_for(&scope)?;
    if let Scope::One(name) = &scope
        && !registry_reader.metadata().repository_exists(name).await?
    {
        return Err(unknown_repository(name));
    }
    let report = registry_reader.reports().usage(&scope, |scope| requester.may_read(scope)).await?;
    Ok(Json(report.into()))
}

fn unknown_repository(name: &RepoName) -> Problem {
    Problem::unknown(format_args!(
        "the registry has no repository {name}; to select a prefix, end it with a slash: {name}/"
    ))
}

/// Lists the usage of the registry at the end of each of the last days, oldest first.
#[utoipa::path(
    get, path = "/usage/days", operation_id = "listUsageDays", tag = "usage",
    responses((status = OK, description = "The days, at most 400.", body = Vec<UsageDay>), Errors)
)]
async fn days(registry_reader: RegistryReader) -> Result<Json<Vec<UsageDay>>, Problem> {
    let days = registry_reader.reports().usage_days(MAX_USAGE_DAYS).await?;
    Ok(Json(days.into_iter().map(UsageDay::from).collect()))
}
