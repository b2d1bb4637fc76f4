//! Organisations and their teams.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::SignedIn;
use super::extract::InPath;
use super::problem::{ChangeRefusals, Refusals};
use super::{Api, Problem};
use crate::metadata::{AccountRecords, Scope, Team, check_name};

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Organisation {
    /// Its name. Whoever administers the prefix of this name looks after it.
    pub name: String,
    /// Its teams.
    pub teams: Vec<TeamEntry>,
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamEntry {
    /// Its name within its organisation.
    pub name: String,
    /// Who is in it.
    pub members: Vec<String>,
}

/// An organisation in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfOrganisation {
    /// The organisation.
    #[param(max_length = 64, example = "acme", pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    organisation: String,
}

/// A team in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfTeam {
    /// The organisation.
    #[param(max_length = 64, example = "acme", pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    organisation: String,
    /// The team.
    #[param(max_length = 64, example = "devs", pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
    team: String,
}

/// A member in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfMember {
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
            let theirs = records.members.iter().filter(|(of, _)| of == team);
            theirs.map(|(_, user)| user.clone()).collect()
        };
        let teams = records.teams.iter().filter(|team| team.organisation == name);
        let teams = teams.map(|team| TeamEntry { name: team.name.clone(), members: members(team) });
        Self { name: name.to_owned(), teams: teams.collect() }
    }
}

/// What an organisation owns: whoever administers it looks after the organisation.
fn owned(organisation: &str) -> Result<Scope, Problem> {
    check_name(organisation).map_err(|error| Problem::bad(format_args!("organisation: {error}")))?;
    // One whose name is no repository's owns nothing, and is looked after by those who administer everything.
    Ok(format!("{organisation}/").parse().unwrap_or_default())
}

fn team_of(organisation: String, name: String) -> Result<Team, Problem> {
    check_name(&name).map_err(|error| Problem::bad(format_args!("team: {error}")))?;
    Ok(Team { organisation, name })
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(add, remove))
        .routes(routes!(add_team, remove_team))
        .routes(routes!(join, leave))
}

/// The organisations that whoever asks looks after.
#[utoipa::path(
    get, path = "/organisations", operation_id = "listOrganisations", tag = "accounts",
    responses((status = OK, description = "All of them.", body = Vec<Organisation>), Refusals)
)]
async fn list(SignedIn(asker): SignedIn) -> Result<Json<Vec<Organisation>>, Problem> {
    let directory = asker.signed_in()?.accounts().now();
    let records = directory.records();
    let theirs = |name: &&String| owned(name).is_ok_and(|scope| asker.administers(&scope).is_ok());
    let names = records.organisations.iter().filter(theirs);
    Ok(Json(names.map(|name| Organisation::new(name, records)).collect()))
}

/// Makes an organisation.
#[utoipa::path(
    put, path = "/organisations/{organisation}", operation_id = "addOrganisation", tag = "accounts",
    params(OfOrganisation),
    responses((status = NO_CONTENT, description = "It is there."), Refusals, ChangeRefusals)
)]
async fn add(
    SignedIn(asker): SignedIn,
    InPath(OfOrganisation { organisation }): InPath<OfOrganisation>,
) -> Result<StatusCode, Problem> {
    let access_control = asker.administers(&Scope::All)?;
    access_control.add_organisation(&organisation, asker.by(&asker.name())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes an organisation with its teams, and what those were granted. Its repositories stay.
#[utoipa::path(
    delete, path = "/organisations/{organisation}", operation_id = "removeOrganisation", tag = "accounts",
    params(OfOrganisation),
    responses((status = NO_CONTENT, description = "It is gone."), Refusals, ChangeRefusals)
)]
async fn remove(
    SignedIn(asker): SignedIn,
    InPath(OfOrganisation { organisation }): InPath<OfOrganisation>,
) -> Result<StatusCode, Problem> {
    asker.administers(&Scope::All)?.remove_organisation(&organisation).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a team.
#[utoipa::path(
    put, path = "/organisations/{organisation}/teams/{team}", operation_id = "addTeam", tag = "accounts",
    params(OfTeam),
    responses((status = NO_CONTENT, description = "It is there."), Refusals, ChangeRefusals)
)]
async fn add_team(
    SignedIn(asker): SignedIn,
    InPath(OfTeam { organisation, team }): InPath<OfTeam>,
) -> Result<StatusCode, Problem> {
    let access_control = asker.administers(&owned(&organisation)?)?;
    access_control.add_team(&team_of(organisation, team)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a team, and what it was granted.
#[utoipa::path(
    delete, path = "/organisations/{organisation}/teams/{team}", operation_id = "removeTeam",
    tag = "accounts", params(OfTeam),
    responses((status = NO_CONTENT, description = "It is gone."), Refusals, ChangeRefusals)
)]
async fn remove_team(
    SignedIn(asker): SignedIn,
    InPath(OfTeam { organisation, team }): InPath<OfTeam>,
) -> Result<StatusCode, Problem> {
    let access_control = asker.administers(&owned(&organisation)?)?;
    access_control.remove_team(&team_of(organisation, team)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a user into a team.
#[utoipa::path(
    put, path = "/organisations/{organisation}/teams/{team}/members/{user}", operation_id = "joinTeam",
    tag = "accounts", params(OfMember),
    responses((status = NO_CONTENT, description = "They are in it."), Refusals, ChangeRefusals)
)]
async fn join(
    SignedIn(asker): SignedIn,
    InPath(OfMember { organisation, team, user }): InPath<OfMember>,
) -> Result<StatusCode, Problem> {
    let access_control = asker.administers(&owned(&organisation)?)?;
    access_control.join(&team_of(organisation, team)?, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a user out of a team.
#[utoipa::path(
    delete, path = "/organisations/{organisation}/teams/{team}/members/{user}", operation_id = "leaveTeam",
    tag = "accounts", params(OfMember),
    responses((status = NO_CONTENT, description = "They are out."), Refusals, ChangeRefusals)
)]
async fn leave(
    SignedIn(asker): SignedIn,
    InPath(OfMember { organisation, team, user }): InPath<OfMember>,
) -> Result<StatusCode, Problem> {
    let access_control = asker.administers(&owned(&organisation)?)?;
    access_control.leave(&team_of(organisation, team)?, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}
