//! Who may do what where, and why.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::SignedIn;
use super::extract::{InQuery, WithBody};
use super::problem::{ChangeRefusals, Refusals};
use super::{Api, Problem, Time};
use crate::metadata::{GrantRecord, Grantee, Role, Scope};
use crate::oci::RepoName;

/// A role that somebody has somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// A user, `ORGANISATION/TEAM`, `@users` or `@everybody`.
    #[schema(value_type = String)]
    pub grantee: Grantee,
    /// A repository, or a prefix with a slash at its end; empty for all.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// What.
    pub role: Role,
    /// Since when.
    pub set_at: Time,
    /// Who gave it.
    #[schema(required)]
    pub by: Option<String>,
}

/// A role to be given.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// A user, `ORGANISATION/TEAM`, `@users` or `@everybody`.
    #[schema(value_type = String)]
    pub grantee: Grantee,
    /// A repository, or a prefix with a slash at its end; empty for all.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// What.
    pub role: Role,
}

/// A role to be taken away: whose, and where.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GrantParameters {
    /// A user, `ORGANISATION/TEAM`, `@users` or `@everybody`.
    #[param(value_type = String, example = "ann")]
    pub grantee: Grantee,
    /// A repository, or a prefix with a slash at its end; empty for all.
    #[param(value_type = String, example = "team/")]
    pub scope: Scope,
}

/// A question.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CanParameters {
    /// Who; nobody in particular where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(example = "ann")]
    pub user: Option<String>,
    /// What.
    pub action: Role,
    /// To which repository.
    #[param(value_type = String, example = "team/app")]
    pub repository: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Can {
    /// Whether they may.
    pub allowed: bool,
    /// All that they may there.
    #[schema(required)]
    pub role: Option<Role>,
    /// Why, a sentence each.
    pub because: Vec<String>,
}

impl From<&GrantRecord> for Grant {
    fn from(record: &GrantRecord) -> Self {
        let GrantRecord { grantee, scope, role, set_at, by } = record.clone();
        Self { grantee, scope, role, set_at: set_at.into(), by }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, put, remove)).routes(routes!(can))
}

/// All roles that are given in what whoever asks administers.
#[utoipa::path(
    get, path = "/grants", operation_id = "listGrants", tag = "accounts",
    responses((status = OK, description = "All of them.", body = Vec<Grant>), Refusals)
)]
async fn list(SignedIn(asker): SignedIn) -> Result<Json<Vec<Grant>>, Problem> {
    let access_control = asker.signed_in()?;
    let directory = access_control.accounts().now();
    let theirs = directory.records().grants.iter().filter(|grant| asker.administers(&grant.scope).is_ok());
    Ok(Json(theirs.map(Grant::from).collect()))
}

/// Gives a role, in the place of the one that the same had there. For whoever administers all of the scope.
#[utoipa::path(
    put, path = "/grants", operation_id = "setGrant", tag = "accounts", request_body = GrantRequest,
    responses((status = NO_CONTENT, description = "It counts."), Refusals, ChangeRefusals)
)]
async fn put(
    WithBody { right: SignedIn(asker), body: request, .. }: WithBody<SignedIn, GrantRequest>,
) -> Result<StatusCode, Problem> {
    let GrantRequest { grantee, scope, role } = request;
    // To open something to everybody for more than pulls is the operator's to decide.
    let whose = if grantee == Grantee::Everybody && role > Role::Pull { &Scope::All } else { &scope };
    let access_control = asker.administers(whose)?;
    access_control.grant(grantee, scope, role, asker.by(&asker.name())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a role away. For whoever administers all of the scope.
#[utoipa::path(
    delete, path = "/grants", operation_id = "removeGrant", tag = "accounts", params(GrantParameters),
    responses((status = NO_CONTENT, description = "It counts no more."), Refusals, ChangeRefusals)
)]
async fn remove(
    SignedIn(asker): SignedIn,
    InQuery(GrantParameters { grantee, scope }): InQuery<GrantParameters>,
) -> Result<StatusCode, Problem> {
    asker.administers(&scope)?.revoke(grantee, scope).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether somebody may do something to a repository, and why. For administrators, and of oneself.
#[utoipa::path(
    get, path = "/can", operation_id = "can", tag = "accounts", params(CanParameters),
    responses((status = OK, description = "The decision.", body = Can), Refusals)
)]
async fn can(
    SignedIn(asker): SignedIn,
    InQuery(CanParameters { user, action, repository }): InQuery<CanParameters>,
) -> Result<Json<Can>, Problem> {
    let name = repository.parse::<RepoName>();
    let name = name.map_err(|error| Problem::bad(format_args!("repository: {error}")))?;
    let access_control = match &user {
        Some(user) => asker.is_or_administers(user)?,
        None => asker.administers(&Scope::All)?,
    };
    let (role, because) = access_control.explain(user.as_deref(), &name);
    Ok(Json(Can { allowed: role >= Some(action), role, because }))
}
