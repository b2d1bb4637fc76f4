//! Organisations, their teams and the members of teams.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use super::extract::InPath;
use super::problem::{ChangeErrors, Errors};
use super::rights::{Requester, SignedIn};
use super::routes::{Routes, routes};
use crate::auth::AccessControl;
use crate::metadata::{AccountRecords, Scope, Team, check_name};

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Organisation {
    /// Its name. Users who administer the repositories below `NAME/` also manage the organisation.
    pub name: String,
    /// Its teams.
    pub teams: Vec<TeamEntry>,
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamEntry {
    /// Its name within its organisation.
    pub name: String,
    /// The names of its members.
    pub members: Vec<String>,
}

/// The path parameters of an organisation.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OrganisationPath {
    /// The organisation.
    #[param(max_length = 64, example = "acme", pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    organisation: String,
}

/// The path parameters of a team.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TeamPath {
    /// The organisation.
    #[param(max_length = 64, example = "acme", pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    organisation: String,
    /// The team.
    #[param(max_length = 64, example = "devs", pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    team: String,
}

/// The path parameters of a team's member.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct MemberPath {
    /// The organisation.
    #[param(max_length = 64, example = "acme", pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    organisation: String,
    /// The team.
    #[param(max_length = 64, example = "devs", pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    team: String,
    /// The user.
    #[param(max_length = 64, example = "ann", pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    user: String,
}

impl Organisation {
    fn new(name: &str, records: &AccountRecords) -> Self {
        let members = |team: &Team| {
            let members = records.members.iter().filter(|(of, _)| of == team);
            members.map(|(_, user)| user.clone()).collect()
        };
        let teams = records.teams.iter().filter(|team| team.organisation == name);
        let teams = teams.map(|team| TeamEntry { name: team.name.clone(), members: members(team) });
        Self { name: name.to_owned(), teams: teams.collect() }
    }
}

/// The scope of an organisation's repositories. Administrators of the scope manage the organisation.
fn owned_scope(organisation: &str) -> Result<Scope, Problem> {
    check_name(organisation).map_err(|error| Problem::bad(format_args!("organisation: {error}")))?;
    // If the name is no valid prefix of repositories, the organisation has none: only administrators of everything
    // manage it.
    Ok(format!("{organisation}/").parse().unwrap_or(Scope::All))
}

/// The team of an organisation that a client manages, and the access control to change it.
fn team_to_change(
    requester: &Requester,
    organisation: String,
    name: String,
) -> Result<(&Arc<AccessControl>, Team), Problem> {
    let access_control = requester.access_control_for(&owned_scope(&organisation)?)?;
    check_name(&name).map_err(|error| Problem::bad(format_args!("team: {error}")))?;
    Ok((access_control, Team { organisation, name }))
}

/// The organisations that a client manages.
pub(in crate::http) fn managed_organisations(requester: &Requester) -> Result<Vec<Organisation>, Problem> {
    let directory = requester.access_control_if_signed_in()?.accounts().current();
    let records = directory.records();
    let is_managed =
        |name: &&String| owned_scope(name).is_ok_and(|scope| requester.access_control_for(&scope).is_ok());
    let names = records.organisations.iter().filter(is_managed);
    Ok(names.map(|name| Organisation::new(name, records)).collect())
}

/// A change of organisations and teams.
pub(in crate::http) enum OrganisationChange {
    /// Creates an organisation.
    Add,
    /// Removes an organisation with its teams and their grants. Its repositories stay.
    Remove,
    /// Creates a team of this name.
    AddTeam(String),
    /// Removes the team of this name and its grants.
    RemoveTeam(String),
    /// Adds a user to a team: the names of the team and the user.
    AddMember(String, String),
    /// Removes a user from a team: the names of the team and the user.
    RemoveMember(String, String),
}

/// Changes an organisation, if the client may. Only administrators of everything create and remove organisations; those
/// who manage an organisation change its teams.
pub(in crate::http) async fn change_organisation(
    requester: &Requester,
    organisation: String,
    change: OrganisationChange,
) -> Result<(), Problem> {
    match change {
        OrganisationChange::Add => {
            let access_control = requester.access_control_for(&Scope::All)?;
            access_control
                .add_organisation(&organisation, requester.change_author(&requester.name()))
                .await?;
        }
        OrganisationChange::Remove => {
            requester.access_control_for(&Scope::All)?.remove_organisation(&organisation).await?;
        }
        OrganisationChange::AddTeam(team) => {
            let (access_control, team) = team_to_change(requester, organisation, team)?;
            access_control.add_team(&team).await?;
        }
        OrganisationChange::RemoveTeam(team) => {
            let (access_control, team) = team_to_change(requester, organisation, team)?;
            access_control.remove_team(&team).await?;
        }
        OrganisationChange::AddMember(team, user) => {
            let (access_control, team) = team_to_change(requester, organisation, team)?;
            access_control.join(&team, &user).await?;
        }
        OrganisationChange::RemoveMember(team, user) => {
            let (access_control, team) = team_to_change(requester, organisation, team)?;
            access_control.leave(&team, &user).await?;
        }
    }
    Ok(())
}

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list))
        .routes(routes!(add, remove))
        .routes(routes!(add_team, remove_team))
        .routes(routes!(add_member, remove_member))
}

/// Lists the organisations that the client manages.
#[utoipa::path(
    get, path = "/organisations", operation_id = "listOrganisations", tag = "accounts",
    responses((status = OK, description = "All such organisations.", body = Vec<Organisation>), Errors)
)]
async fn list(SignedIn(requester): SignedIn) -> Result<Json<Vec<Organisation>>, Problem> {
    Ok(Json(managed_organisations(&requester)?))
}

/// Creates an organisation.
#[utoipa::path(
    put, path = "/organisations/{organisation}", operation_id = "addOrganisation", tag = "accounts",
    params(OrganisationPath),
    responses((status = NO_CONTENT, description = "The organisation exists."), Errors, ChangeErrors)
)]
async fn add(
    SignedIn(requester): SignedIn,
    InPath(OrganisationPath { organisation }): InPath<OrganisationPath>,
) -> Result<StatusCode, Problem> {
    change_organisation(&requester, organisation, OrganisationChange::Add).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes an organisation with its teams and their grants. Its repositories stay.
#[utoipa::path(
    delete, path = "/organisations/{organisation}", operation_id = "removeOrganisation", tag = "accounts",
    params(OrganisationPath),
    responses((status = NO_CONTENT, description = "The organisation is removed."), Errors, ChangeErrors)
)]
async fn remove(
    SignedIn(requester): SignedIn,
    InPath(OrganisationPath { organisation }): InPath<OrganisationPath>,
) -> Result<StatusCode, Problem> {
    change_organisation(&requester, organisation, OrganisationChange::Remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Creates a team.
#[utoipa::path(
    put, path = "/organisations/{organisation}/teams/{team}", operation_id = "addTeam", tag = "accounts",
    params(TeamPath),
    responses((status = NO_CONTENT, description = "The team exists."), Errors, ChangeErrors)
)]
async fn add_team(
    SignedIn(requester): SignedIn,
    InPath(TeamPath { organisation, team }): InPath<TeamPath>,
) -> Result<StatusCode, Problem> {
    change_organisation(&requester, organisation, OrganisationChange::AddTeam(team)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a team and its grants.
#[utoipa::path(
    delete, path = "/organisations/{organisation}/teams/{team}", operation_id = "removeTeam",
    tag = "accounts", params(TeamPath),
    responses((status = NO_CONTENT, description = "The team is removed."), Errors, ChangeErrors)
)]
async fn remove_team(
    SignedIn(requester): SignedIn,
    InPath(TeamPath { organisation, team }): InPath<TeamPath>,
) -> Result<StatusCode, Problem> {
    change_organisation(&requester, organisation, OrganisationChange::RemoveTeam(team)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Adds a user to a team.
#[utoipa::path(
    put, path = "/organisations/{organisation}/teams/{team}/members/{user}", operation_id = "joinTeam",
    tag = "accounts", params(MemberPath),
    responses((status = NO_CONTENT, description = "The user is a member."), Errors, ChangeErrors)
)]
async fn add_member(
    SignedIn(requester): SignedIn,
    InPath(MemberPath { organisation, team, user }): InPath<MemberPath>,
) -> Result<StatusCode, Problem> {
    change_organisation(&requester, organisation, OrganisationChange::AddMember(team, user)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a user from a team.
#[utoipa::path(
    delete, path = "/organisations/{organisation}/teams/{team}/members/{user}", operation_id = "leaveTeam",
    tag = "accounts", params(MemberPath),
    responses((status = NO_CONTENT, description = "The user is no longer a member."), Errors, ChangeErrors)
)]
async fn remove_member(
    SignedIn(requester): SignedIn,
    InPath(MemberPath { organisation, team, user }): InPath<MemberPath>,
) -> Result<StatusCode, Problem> {
    change_organisation(&requester, organisation, OrganisationChange::RemoveMember(team, user)).await?;
    Ok(StatusCode::NO_CONTENT)
}
