//! `orlop org` and `orlop can`: organisations, teams and roles.

use std::process::ExitCode;

use clap::Subcommand;
use http::Method;

use super::args::Output;
use super::connect::{change, fetch, remove};
use super::failure::{Failure, exit_code};
use super::terminal::{Table, print_json, print_list, print_result, when, write_out};
use crate::config::Config;
use crate::http::api::{Can, CanParameters, Grant, GrantParameters, GrantRequest, Organisation};
use crate::metadata::{Grantee, Role, Scope, Team};
use crate::oci::RepoName;
use crate::printable::escape;

/// Actions on organisations, teams and roles.
#[derive(Debug, Subcommand)]
pub(super) enum OrgCommand {
    /// Create an organisation
    ///
    /// Users with the role admin on its prefix (NAME/) manage its teams and roles.
    Add {
        /// Organisation name
        name: String,
    },

    /// List organisations with their teams and members
    List(Output),

    /// Remove an organisation with its teams; its repositories are kept
    Remove {
        /// Organisation name
        name: String,
    },

    /// Create a team
    AddTeam {
        /// Team, as ORG/TEAM
        #[arg(value_name = "ORG/TEAM")]
        team: Team,
    },

    /// Remove a team and its roles
    RemoveTeam {
        /// Team, as ORG/TEAM
        #[arg(value_name = "ORG/TEAM")]
        team: Team,
    },

    /// Add a user to a team
    Join {
        /// Team, as ORG/TEAM
        #[arg(value_name = "ORG/TEAM")]
        team: Team,

        /// User name
        user: String,
    },

    /// Remove a user from a team
    Leave {
        /// Team, as ORG/TEAM
        #[arg(value_name = "ORG/TEAM")]
        team: Team,

        /// User name
        user: String,
    },

    /// Grant a role to a user, a team, all users or anyone
    #[command(after_help = "\
Examples:
  orlop org grant acme/devs push acme/
  orlop org grant ann admin acme/
  orlop org grant @users pull base/
  orlop org grant @everybody pull public/")]
    Grant {
        /// User, team (`org/team`), `@users` for all users, or `@everybody` for anyone, anonymous users included
        #[arg(value_name = "USER|ORG/TEAM|@users|@everybody")]
        grantee: Grantee,

        /// Role: pull, push, delete or admin; each includes the ones before it
        role: Role,

        /// Repository, or prefix that ends with a slash; without it, everything
        #[arg(value_name = "REPO|PREFIX/", default_value = "", hide_default_value = true)]
        scope: Scope,
    },

    /// Revoke a role
    Revoke {
        /// User, team (`org/team`), `@users` or `@everybody`
        #[arg(value_name = "USER|ORG/TEAM|@users|@everybody")]
        grantee: Grantee,

        /// Repository or prefix that the role was granted on; without it, everything
        #[arg(value_name = "REPO|PREFIX/", default_value = "", hide_default_value = true)]
        scope: Scope,
    },

    /// List granted roles
    Grants(Output),
}

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

/// Prints whether `user` may do `action` in a repository, and why. `@everybody` stands for anonymous users.
pub(super) fn can(
    config: &Config,
    user: &str,
    action: Role,
    repository: &RepoName,
    json: bool,
) -> Result<ExitCode, Failure> {
    let parameters = CanParameters {
        user: (user != "@everybody").then(|| user.to_owned()),
        action,
        repository: repository.to_string(),
    };
    let found: Can = fetch(config, &["can"], &parameters)?;
    print_result(&found, json, |found| {
        let may = if found.allowed { "may" } else { "may not" };
        let reasons: String = found.because.iter().map(|reason| format!("  {}\n", escape(reason))).collect();
        format!("{user} {may} {action} {repository}\n{reasons}")
    });
    Ok(exit_code(found.allowed))
}
