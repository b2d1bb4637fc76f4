//! `orlop org`.

use std::process::ExitCode;

use http::Method;

use super::args::OrgCommand;
use super::connect::{change, fetch, remove};
use super::table::{Table, print_json, print_list, when, write_out};
use super::{Failure, exit_code};
use crate::config::Config;
use crate::http::api::{Grant, GrantParameters, GrantRequest, Organisation};
use crate::metadata::{Scope, Team};

pub(super) fn run(config: &Config, command: OrgCommand) -> Result<ExitCode, Failure> {
    let done = match command {
        OrgCommand::Add { name } => {
            put(config, &["organisations", &name])?;
            format!("created organisation {name}\n")
        }
        OrgCommand::Remove { name } => {
            remove(config, &["organisations", &name], &())?;
            format!("removed organisation {name}\n")
        }
        OrgCommand::AddTeam { team } => {
            put(config, &of_team(&team, &[]))?;
            format!("created team {team}\n")
        }
        OrgCommand::RemoveTeam { team } => {
            remove(config, &of_team(&team, &[]), &())?;
            format!("removed team {team}\n")
        }
        OrgCommand::Join { team, user } => {
            put(config, &of_team(&team, &["members", &user]))?;
            format!("added {user} to {team}\n")
        }
        OrgCommand::Leave { team, user } => {
            remove(config, &of_team(&team, &["members", &user]), &())?;
            format!("removed {user} from {team}\n")
        }
        OrgCommand::Grant { grantee, role, scope } => {
            let request = GrantRequest { grantee, scope, role };
            change::<()>(config, Method::PUT, &["grants"], Some(&request))?;
            format!("{} has {role} on {}\n", request.grantee, format_scope(&request.scope))
        }
        OrgCommand::Revoke { grantee, scope } => {
            let parameters = GrantParameters { grantee, scope };
            remove(config, &["grants"], &parameters)?;
            format!(
                "{} no longer has a role of its own on {}\n",
                parameters.grantee,
                format_scope(&parameters.scope)
            )
        }
        OrgCommand::List(output) => return list(config, output.json),
        OrgCommand::Grants(output) => return grants(config, output.json),
    };
    write_out(&done);
    Ok(exit_code(true))
}

fn put(config: &Config, segments: &[&str]) -> Result<(), Failure> {
    change(config, Method::PUT, segments, None::<&()>)
}

fn of_team<'a>(team: &'a Team, more: &[&'a str]) -> Vec<&'a str> {
    [&["organisations", &team.organisation, "teams", &team.name], more].concat()
}

/// Formats a scope.
pub(super) fn format_scope(scope: &Scope) -> &str {
    match scope.as_str() {
        "" => "everything",
        scope => scope,
    }
}

fn list(config: &Config, json: bool) -> Result<ExitCode, Failure> {
    let found: Vec<Organisation> = fetch(config, &["organisations"], &())?;
    if json {
        print_json(&found);
        return Ok(exit_code(true));
    }
    let mut table = Table::new(["ORGANISATION", "TEAM", "MEMBERS"]);
    for organisation in found {
        if organisation.teams.is_empty() {
            table.row([organisation.name.clone(), String::new(), String::new()]);
        }
        for team in organisation.teams {
            table.row([organisation.name.clone(), team.name, team.members.join(" ")]);
        }
    }
    table.print();
    Ok(exit_code(true))
}

fn grants(config: &Config, json: bool) -> Result<ExitCode, Failure> {
    let found: Vec<Grant> = fetch(config, &["grants"], &())?;
    print_list(&found, json, ["GRANTEE", "ROLE", "SCOPE", "SINCE (UTC)", "BY"], |grant| {
        [
            grant.grantee.to_string(),
            grant.role.to_string(),
            format_scope(&grant.scope).to_owned(),
            when(Some(grant.set_at)),
            grant.by.clone().unwrap_or_default(),
        ]
    });
    Ok(exit_code(true))
}
