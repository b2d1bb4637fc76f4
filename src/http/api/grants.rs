//! Role grants, and explanations of what a user may do and why.

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{InQuery, WithBody};
use super::problem::{ChangeErrors, Errors};
use super::rights::{Requester, SignedIn};
use super::routes::{Routes, routes};
use super::{Problem, Time};
use crate::metadata::{GrantRecord, Grantee, Role, Scope};
use crate::oci::RepoName;

/// A role granted to a user or group in a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// A user, `ORGANISATION/TEAM`, `@users` or `@everybody`.
    #[schema(value_type = String)]
    pub grantee: Grantee,
    /// A repository, or a prefix that ends with a slash; empty for all repositories.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// The role.
    pub role: Role,
    /// When it was granted.
    pub set_at: Time,
    /// Who granted it.
    #[schema(required)]
    pub by: Option<String>,
}

/// A role to grant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// A user, `ORGANISATION/TEAM`, `@users` or `@everybody`.
    #[schema(value_type = String)]
    pub grantee: Grantee,
    /// A repository, or a prefix that ends with a slash; empty for all repositories.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// The role.
    pub role: Role,
}

/// The grant to remove: its grantee and scope.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GrantParameters {
    /// A user, `ORGANISATION/TEAM`, `@users` or `@everybody`.
    #[param(value_type = String, example = "ann")]
    pub grantee: Grantee,
    /// A repository, or a prefix that ends with a slash; empty for all repositories.
    #[param(value_type = String, example = "team/")]
    pub scope: Scope,
}

/// The question whether a user may do something.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CanParameters {
    /// The user; anonymous by default.
    #[param(example = "ann")]
    pub user: Option<String>,
    /// The action, named by the role that allows it.
    pub action: Role,
    /// The repository.
    #[param(value_type = String, example = "team/app")]
    pub repository: String,
}

/// The answer to that question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Can {
    /// Whether the user may do it.
    pub allowed: bool,
    /// The highest role that the user has in the repository.
    #[schema(required)]
    pub role: Option<Role>,
    /// The reasons, one sentence each.
    pub because: Vec<String>,
}

impl From<&GrantRecord> for Grant {
    fn from(record: &GrantRecord) -> Self {
        let GrantRecord { grantee, scope, role, set_at, by } = record.clone();
        Self { grantee, scope, role, set_at: set_at.into(), by }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list, put, remove)).routes(routes!(can))
}

/// The grants in the scopes that a client administers.
pub(in crate::http) fn administered_grants(requester: &Requester) -> Result<Vec<GrantRecord>, Problem> {
    let directory = requester.access_control_if_signed_in()?.accounts().current();
    let grants = directory.records().grants.iter();
    let administered = grants.filter(|grant| requester.access_control_for(&grant.scope).is_ok());
    Ok(administered.cloned().collect())
}

/// Grants a role, if the client administers the whole scope.
pub(in crate::http) async fn set_grant(requester: &Requester, request: GrantRequest) -> Result<(), Problem> {
    let GrantRequest { grantee, scope, role } = request;
    // Only an administrator of everything may grant everybody more than pulls.
    let required = if grantee == Grantee::Everybody && role > Role::Pull { &Scope::All } else { &scope };
    let access_control = requester.access_control_for(required)?;
    access_control.grant(grantee, scope, role, requester.change_author(&requester.name())).await?;
    Ok(())
}

/// Removes a grant, if the client administers the whole scope.
pub(in crate::http) async fn remove_grant(
    requester: &Requester,
    GrantParameters { grantee, scope }: GrantParameters,
) -> Result<(), Problem> {
    requester.access_control_for(&scope)?.revoke(grantee, scope).await?;
    Ok(())
}

/// Lists the grants in the scopes that the client administers.
#[utoipa::path(
    get, path = "/grants", operation_id = "listGrants", tag = "accounts",
    responses((status = OK, description = "All such grants.", body = Vec<Grant>), Errors)
)]
async fn list(SignedIn(requester): SignedIn) -> Result<Json<Vec<Grant>>, Problem> {
    Ok(Json(administered_grants(&requester)?.iter().map(Grant::from).collect()))
}

/// Grants a role, replacing the grantee's previous role in the same scope. Requires administration of the
/// whole scope.
#[utoipa::path(
    put, path = "/grants", operation_id = "setGrant", tag = "accounts", request_body = GrantRequest,
    responses((status = NO_CONTENT, description = "The role is granted."), Errors, ChangeErrors)
)]
async fn put(
    WithBody { right: SignedIn(requester), body: request, .. }: WithBody<SignedIn, GrantRequest>,
) -> Result<StatusCode, Problem> {
    set_grant(&requester, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a grant. Requires administration of the whole scope.
#[utoipa::path(
    delete, path = "/grants", operation_id = "removeGrant", tag = "accounts", params(GrantParameters),
    responses((status = NO_CONTENT, description = "The grant is removed."), Errors, ChangeErrors)
)]
async fn remove(
    SignedIn(requester): SignedIn,
    InQuery(parameters): InQuery<GrantParameters>,
) -> Result<StatusCode, Problem> {
    remove_grant(&requester, parameters).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says whether a user may do something in a repository, and why. Users may ask about themselves,
/// administrators about anyone.
#[utoipa::path(
    get, path = "/can", operation_id = "can", tag = "accounts", params(CanParameters),
    responses((status = OK, description = "The decision.", body = Can), Errors)
)]
async fn can(
    SignedIn(requester): SignedIn,
    InQuery(CanParameters { user, action, repository }): InQuery<CanParameters>,
) -> Result<Json<Can>, Problem> {
    let name = repository.parse::<RepoName>();
    let name = name.map_err(|error| Problem::bad(format_args!("repository: {error}")))?;
    let access_control = match &user {
        Some(user) => requester.access_control_for_user(user)?,
        None => requester.access_control_for(&Scope::All)?,
    };
    let (role, because) = access_control.explain(user.as_deref(), &name);
    Ok(Json(Can { allowed: role >= Some(action), role, because }))
}
