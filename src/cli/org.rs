//! `orlop org`.

use std::process::ExitCode;

use http::Method;

use super::args::OrgCommand;
use super::connect::{change, fetch, remove};
use super::table::{Table, print_json, when, write_out};
use super::{Failure, exit_code, start};
use crate::config::Config;
use crate::http::api::{Grant, GrantParameters, GrantRequest, Organisation};
use crate::metadata::{Scope, Team};
use crate::server::admin::path;

pub(super) fn run(config: &Config, command: OrgCommand) -> Result<ExitCode, Failure> {
    let done = match command {
        OrgCommand::Add { name } => {
            put(config, &path(&["organisations", &name]))?;
            format!("created organisation {name}\n")
        }
        OrgCommand::Remove { name } => {
            change::<(), ()>(config, Method::DELETE, &path(&["organisations", &name]), None)?;
            format!("removed organisation {name}\n")
        }
        OrgCommand::AddTeam { team } => {
            put(config, &of_team(&team, &[]))?;
            format!("created team {team}\n")
        }
        OrgCommand::RemoveTeam { team } => {
            change::<(), ()>(config, Method::DELETE, &of_team(&team, &[]), None)?;
            format!("removed team {team}\n")
        }
        OrgCommand::Join { team, user } => {
            put(config, &of_team(&team, &["members", &user]))?;
            format!("added {user} to {team}\n")
        }
        OrgCommand::Leave { team, user } => {
            change::<(), ()>(config, Method::DELETE, &of_team(&team, &["members", &user]), None)?;
            format!("removed {user} from {team}\n")
        }
        OrgCommand::Grant { grantee, role, scope } => {
            let request = GrantRequest { grantee, scope, role };
            change::<_, ()>(config, Method::PUT, &path(&["grants"]), Some(&request))?;
            format!("{} has {role} on {}\n", request.grantee, format_scope(&request.scope))
        }
        OrgCommand::Revoke { grantee, scope } => {
            let parameters = GrantParameters { grantee, scope };
            remove(config, &path(&["grants"]), &parameters)?;
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

fn put(config: &Config, path: &str) -> Result<(), Failure> {
    change::<(), ()>(config, Method::PUT, path, None)
}

fn of_team(team: &Team, more: &[&str]) -> String {
    path(&[&["organisations", team.organisation.as_str(), "teams", team.name.as_str()], more].concat())
}

/// Formats a scope.
pub(super) fn format_scope(scope: &Scope) -> &str {
    match scope.as_str() {
        "" => "everything",
        scope => scope,
    }
}

fn list(config: &Config, json: bool) -> Result<ExitCode, Failure> {
    let found: Vec<Organisation> = start()?.block_on(fetch(config, &path(&["organisations"]), &()))?;
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
    let found: Vec<Grant> = start()?.block_on(fetch(config, &path(&["grants"]), &()))?;
    if json {
        print_json(&found);
        return Ok(exit_code(true));
    }
    let mut table = Table::new(["GRANTEE", "ROLE", "SCOPE", "SINCE (UTC)", "BY"]);
    for grant in found {
        table.row([
            grant.grantee.to_string(),
            grant.role.to_string(),
            format_scope(&grant.scope).to_owned(),
            when(Some(grant.set_at)),
            grant.by.unwrap_or_default(),
        ]);
    }
    table.print();
    Ok(exit_code(true))
}
