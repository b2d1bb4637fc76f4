//! Arguments of `orlop user`, `org` and `token`.

use std::time::Duration;

use clap::Subcommand;

use super::Output;
use crate::auth::ScopedRole;
use crate::metadata::{Grantee, Role, Scope, Team};

/// Actions on users.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum UserCommand {
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

/// Actions on organisations, teams and roles.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum OrgCommand {
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

/// Actions on access tokens.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenCommand {
    /// Create an access token, which is shown once
    ///
    /// Clients use it instead of the user's password. It never permits more than the user's own roles.
    #[command(after_help = "\
Examples:
  orlop token add ci --may push:team/ --name jenkins --expires 90d
  orlop token add deploy --may pull")]
    Add {
        /// User that the token belongs to
        user: String,

        /// Maximum role: pull, push, delete or admin; on everything, a repository, or a prefix
        #[arg(long, value_name = "ROLE[:REPO|:PREFIX/]")]
        may: ScopedRole,

        /// Name by which lists show the token
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,

        /// Lifetime, such as 90d; without it, the token is valid until revoked
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,

        #[command(flatten)]
        output: Output,
    },

    /// List access tokens and when they were last used
    List {
        /// User whose tokens to list; without it, those of all users
        user: Option<String>,

        #[command(flatten)]
        output: Output,
    },

    /// Replace the key that signs the short-lived tokens of clients
    ///
    /// Tokens signed with the old key stay valid until they expire, after at most auth.token_lifetime.
    RotateKey {
        /// Revoke the old key immediately; clients must request new tokens
        #[arg(long)]
        at_once: bool,
    },

    /// Revoke an access token immediately
    Revoke {
        /// Token id, as `orlop token list` shows it
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_role_with_scope() {
        let parse = |text: &str| text.parse::<ScopedRole>().map(|may| (may.role, may.scope.to_string()));
        assert_eq!(parse("push"), Ok((Role::Push, String::new())));
        assert_eq!(parse("pull:team/app"), Ok((Role::Pull, "team/app".into())));
        assert_eq!(parse("admin:team/"), Ok((Role::Admin, "team/".into())));
        for wrong in ["", "write", "push:Team/", "push:/", ":team/"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
