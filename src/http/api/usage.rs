//! What is used, and how that grew.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{RegistryReader, Requester};
use super::extract::InQuery;
use super::problem::Refusals;
use super::{Api, Problem};
use crate::jobs::usage::UsageReport;
use crate::metadata::{Scope, UsageDay};
use crate::oci::RepoName;

/// How many days of growth are told: as many as anybody compares.
const DAYS: usize = 400;

/// What a report is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageParameters {
    /// A repository, or a prefix of names with a slash at its end; all repositories where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(
        example = "team/",
        pattern = r"^([a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*/?)?$",
        max_length = 255
    )]
    pub scope: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(days))
}

/// What repositories use, what may go, and when. For those who may pull all of the scope; a report about a part of the
/// registry tells nothing of the rest.
#[utoipa::path(
    get, path = "/usage", operation_id = "getUsage", tag = "usage", params(UsageParameters),
    responses((status = OK, description = "What is used now.", body = UsageReport), Refusals)
)]
async fn get(
    asker: Requester,
    InQuery(UsageParameters { scope }): InQuery<UsageParameters>,
) -> Result<Json<UsageReport>, Problem> {
    let scope = scope.unwrap_or_default().parse::<Scope>();
    let scope = scope.map_err(|error| Problem::bad(format_args!("scope: {error}")))?;
    let overseer = asker.overseer_of(&scope)?;
    if let Scope::One(name) = &scope
        && !overseer.has_repository(name).await?
    {
        return Err(unknown(name));
    }
    Ok(Json(overseer.usage(&scope, |scope| asker.may_read(scope)).await?))
}

fn unknown(name: &RepoName) -> Problem {
    Problem::unknown(format_args!(
        "the registry has no repository {name}; what is below a prefix is asked for with a slash: {name}/"
    ))
}

/// How the registry was at the end of each of the last days, the oldest first.
#[utoipa::path(
    get, path = "/usage/days", operation_id = "listUsageDays", tag = "usage",
    responses((status = OK, description = "The days, at most 400.", body = Vec<UsageDay>), Refusals)
)]
async fn days(overseer: RegistryReader) -> Result<Json<Vec<UsageDay>>, Problem> {
    Ok(Json(overseer.usage_days(DAYS).await?))
}
