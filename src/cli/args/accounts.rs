//! The commands that say who may come in, and do what.

use std::time::Duration;

use clap::Subcommand;

use super::Output;
use crate::metadata::{Grantee, May, Role, Scope, Team};

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum UserCommand {
    /// Make a user, who may do what --may says
    ///
    /// Without --password-stdin a password is made and shown once. From the first user on the registry is closed to
    /// everybody else, unless auth.mode says otherwise.
    #[command(after_help = "\
Examples:
  orlop user add ann --may push
  orlop user add bob --may pull --may push:team/
  orlop user add deploy --robot --may pull:team/app
  echo \"$PASSWORD\" | orlop user add eve --password-stdin --may admin:team/")]
    Add {
        /// The user's name
        name: String,

        /// A role: pull, push, delete or admin, on everything, a repository, or a prefix
        #[arg(long, value_name = "ROLE[:REPO|:PREFIX/]")]
        may: Vec<May>,

        /// It is for a program
        #[arg(long)]
        robot: bool,

        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,

        #[command(flatten)]
        output: Output,
    },

    /// List the users, and what they may do
    List(Output),

    /// Give a user another password
    ///
    /// Without --password-stdin one is made and shown once. What the user logged in with before is out at once.
    Password {
        /// The user
        name: String,

        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,

        #[command(flatten)]
        output: Output,
    },

    /// Keep a user out, and their tokens, until enabled again
    Disable {
        /// The user
        name: String,
    },

    /// Let a user in again
    Enable {
        /// The user
        name: String,
    },

    /// Remove a user with their tokens and roles
    Remove {
        /// The user
        name: String,
    },
}

/// What can be done with organisations, teams and roles.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum OrgCommand {
    /// Make an organisation
    ///
    /// Whoever has the role admin on its prefix (NAME/) looks after its teams and roles.
    Add {
        /// Its name
        name: String,
    },

    /// List organisations with their teams and members
    List(Output),

    /// Remove an organisation with its teams; its repositories stay
    Remove {
        /// Its name
        name: String,
    },

    /// Make a team
    AddTeam {
        /// The team
        #[arg(value_name = "ORG/TEAM")]
        team: Team,
    },

    /// Remove a team, and what it was granted
    RemoveTeam {
        /// The team
        #[arg(value_name = "ORG/TEAM")]
        team: Team,
    },

    /// Put a user into a team
    Join {
        /// The team
        #[arg(value_name = "ORG/TEAM")]
        team: Team,

        /// The user
        user: String,
    },

    /// Take a user out of a team
    Leave {
        /// The team
        #[arg(value_name = "ORG/TEAM")]
        team: Team,

        /// The user
        user: String,
    },

    /// Give a role to a user, a team, all users or everybody
    #[command(after_help = "\
Examples:
  orlop org grant acme/devs push acme/
  orlop org grant ann admin acme/
  orlop org grant @users pull base/
  orlop org grant @everybody pull public/")]
    Grant {
        /// Whom
        #[arg(value_name = "USER|ORG/TEAM|@users|@everybody")]
        grantee: Grantee,

        /// pull, push, delete or admin; each includes those before it
        role: Role,

        /// Where; without it, everywhere
        #[arg(value_name = "REPO|PREFIX/", default_value = "", hide_default_value = true)]
        scope: Scope,
    },

    /// Take a role away
    Revoke {
        /// Whose
        #[arg(value_name = "USER|ORG/TEAM|@users|@everybody")]
        grantee: Grantee,

        /// Where, as it was given
        #[arg(value_name = "REPO|PREFIX/", default_value = "", hide_default_value = true)]
        scope: Scope,
    },

    /// List the roles that are given
    Grants(Output),
}

/// What can be done with access tokens.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenCommand {
    /// Make an access token, which is shown once
    ///
    /// Clients use it in the place of the user's password. It is never good for more than the user may do.
    #[command(after_help = "\
Examples:
  orlop token add ci --may push:team/ --name jenkins --expires 90d
  orlop token add deploy --may pull")]
    Add {
        /// Whose
        user: String,

        /// The most that it is good for: a role, everywhere, on a repository, or on a prefix
        #[arg(long, value_name = "ROLE[:REPO|:PREFIX/]")]
        may: May,

        /// What it is called
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,

        /// For how long it is good, such as 90d; without it, until it is revoked
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,

        #[command(flatten)]
        output: Output,
    },

    /// List access tokens, and when they were last used
    List {
        /// Only those of this user
        user: Option<String>,

        #[command(flatten)]
        output: Output,
    },

    /// Sign the tokens that clients get for a few minutes with another key
    ///
    /// What the key before has signed is good until its end, at most auth.token_lifetime.
    RotateKey {
        /// Let it be good no more: clients get other tokens
        #[arg(long)]
        at_once: bool,
    },

    /// End an access token at once
    Revoke {
        /// Its id, as `orlop token list` shows it
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_with_its_place() {
        let may = |text: &str| text.parse::<May>().map(|may| (may.role, may.scope.to_string()));
        assert_eq!(may("push"), Ok((Role::Push, String::new())));
        assert_eq!(may("pull:team/app"), Ok((Role::Pull, "team/app".into())));
        assert_eq!(may("admin:team/"), Ok((Role::Admin, "team/".into())));
        for wrong in ["", "write", "push:Team/", "push:/", ":team/"] {
            assert!(may(wrong).is_err(), "{wrong}");
        }
    }
}
