//! `orlop user`.

use std::io::{self, BufRead};
use std::process::ExitCode;

use clap::Subcommand;
use http::Method;

use super::args::Output;
use super::connect::{change, fetch, remove};
use super::failure::{Failure, exit_code};
use super::terminal::{print_list, print_result, when, write_out};
use crate::auth::ScopedRole;
use crate::config::Config;
use crate::http::api::{Account, AccountMade, AccountRequest, AccountUpdate, RoleThere};
use crate::metadata::AccountKind;
use crate::text_file;

/// Actions on users.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Create a user, and grant the roles that --may lists
    ///
    /// Without --password-stdin a password is generated and shown once. Creating the first user closes the
    /// registry to anonymous users, unless auth.mode is set.
    #[command(after_help = "\
Examples:
  orlop user add ann --may push
  orlop user add bob --may pull --may push:team/
  orlop user add deploy --robot --may pull:team/app
  echo \"$PASSWORD\" | orlop user add eve --password-stdin --may admin:team/")]
    Add {
        /// User name
        name: String,

        /// Role to grant: pull, push, delete or admin; on everything, a repository, or a prefix; repeatable
        #[arg(long, value_name = "ROLE[:REPO|:PREFIX/]")]
        may: Vec<ScopedRole>,

        /// Create a robot account, which a program uses
        #[arg(long)]
        robot: bool,

        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,

        #[command(flatten)]
        output: Output,
    },

    /// List users and their roles
    List(Output),

    /// Set a new password for a user
    ///
    /// Without --password-stdin a password is generated and shown once. Sessions with the old password end at once.
    Password {
        /// User name
        name: String,

        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,

        #[command(flatten)]
        output: Output,
    },

    /// Disable a user and their access tokens, until the user is enabled again
    Disable {
        /// User name
        name: String,
    },

    /// Enable a disabled user
    Enable {
        /// User name
        name: String,
    },

    /// Remove a user with their tokens and roles
    Remove {
        /// User name
        name: String,
    },
}

pub(super) fn run(config: &Config, command: UserCommand) -> Result<ExitCode, Failure> {
    match command {
        UserCommand::Add { name, may, robot, password_stdin, output } => {
            let roles = may.into_iter().map(|ScopedRole { role, scope }| RoleThere { role, scope }).collect();
            let request = AccountRequest { password: password(password_stdin)?, robot, roles };
            let made: AccountMade = change(config, Method::PUT, &["accounts", &name], Some(&request))?;
            print_result(&made, output.json, |made| to_text(made, "created"));
        }
        UserCommand::List(output) => list(config, output.json)?,
        UserCommand::Password { name, password_stdin, output } => {
            let password = password(password_stdin)?;
            let new_password = password.is_none();
            let update = AccountUpdate { password, new_password, disabled: None };
            let made: AccountMade = change(config, Method::PATCH, &["accounts", &name], Some(&update))?;
            print_result(&made, output.json, |made| to_text(made, "set a new password for"));
        }
        UserCommand::Disable { name } => disable(config, &name, true)?,
        UserCommand::Enable { name } => disable(config, &name, false)?,
        UserCommand::Remove { name } => {
            remove(config, &["accounts", &name], &())?;
            write_out(&format!("removed {name}\n"));
        }
    }
    Ok(exit_code(true))
}

/// Reads a password from the first line of standard input, if `wanted`.
fn password(wanted: bool) -> Result<Option<String>, Failure> {
    if !wanted {
        return Ok(None);
    }
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::of("standard input", error))?;
    let password = text_file::without_mark(line.trim_end_matches(['\r', '\n'])).to_owned();
    if password.is_empty() {
        return Err(Failure::Usage("standard input holds no password".into()));
    }
    Ok(Some(password))
}

fn to_text(made: &AccountMade, action: &str) -> String {
    let name = &made.account.name;
    let mut text = format!("{action} {name}\n");
    if let Some(password) = &made.password {
        text += &format!("password: {password}\n");
    }
    if made.account.roles.is_empty()
        && made.account.teams.is_empty()
        && made.account.kind != AccountKind::Bootstrap
    {
        text += &format!("{name} has no role yet; to grant one: orlop org grant {name} ROLE REPO|PREFIX/\n");
    }
    text
}

fn disable(config: &Config, name: &str, disabled: bool) -> Result<(), Failure> {
    let update = AccountUpdate { disabled: Some(disabled), ..AccountUpdate::default() };
    change::<AccountMade>(config, Method::PATCH, &["accounts", name], Some(&update))?;
    write_out(&format!("{} {name}\n", if disabled { "disabled" } else { "enabled" }));
    Ok(())
}

fn list(config: &Config, json: bool) -> Result<(), Failure> {
    let found: Vec<Account> = fetch(config, &["accounts"], &())?;
    print_list(&found, json, ["USER", "KIND", "ROLES", "TEAMS", "SINCE (UTC)"], |account| {
        let kind = match account.kind {
            AccountKind::Bootstrap => "administrator",
            AccountKind::Person => "person",
            AccountKind::Robot => "robot",
        };
        let roles = account
            .roles
            .iter()
            .map(|RoleThere { role, scope }| ScopedRole { role: *role, scope: scope.clone() }.to_string());
        let kind = if account.disabled { format!("{kind}, disabled") } else { kind.to_owned() };
        [
            account.name.clone(),
            kind,
            roles.collect::<Vec<_>>().join(" "),
            account.teams.join(" "),
            when(Some(account.created_at)),
        ]
    });
    Ok(())
}
