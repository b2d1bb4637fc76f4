//! `orlop token`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use http::Method;

use super::args::Output;
use super::connect::{change, fetch, remove};
use super::failure::{Failure, exit_code};
use super::org::format_scope;
use super::terminal::{print_list, print_result, when, write_out};
use crate::auth::ScopedRole;
use crate::config::Config;
use crate::http::api::{AccessToken, RotateRequest, TokenMade, TokenParameters, TokenRequest};

/// Actions on access tokens.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
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

    /// Replace the key that signs the bearer tokens of clients; access tokens stay valid
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

pub(super) fn run(config: &Config, command: TokenCommand) -> Result<ExitCode, Failure> {
    match command {
        TokenCommand::Add { user, may: ScopedRole { role, scope }, name, expires, output } => {
            let seconds = expires.map(|expires| expires.as_secs());
            let request = TokenRequest { account: user, name, role, scope, seconds };
            let made: TokenMade = change(config, Method::POST, &["tokens"], Some(&request))?;
            print_result(&made, output.json, |TokenMade { token, secret }| {
                let AccessToken { id, account, role, scope, .. } = token;
                let scope = format_scope(scope);
                format!(
                    "token {id} grants {role} on {scope} as {account}; use this instead of the password:\n{secret}\n"
                )
            });
        }
        TokenCommand::List { user, output } => list(config, user, output.json)?,
        TokenCommand::RotateKey { at_once } => {
            let request = RotateRequest { at_once };
            change::<()>(config, Method::POST, &["token-keys", "rotate"], Some(&request))?;
            write_out("tokens are now signed with a new key\n");
        }
        TokenCommand::Revoke { id } => {
            remove(config, &["tokens", &id], &())?;
            write_out(&format!("revoked token {id}\n"));
        }
    }
    Ok(exit_code(true))
}

fn list(config: &Config, account: Option<String>, json: bool) -> Result<(), Failure> {
    let parameters = TokenParameters { account };
    let found: Vec<AccessToken> = fetch(config, &["tokens"], &parameters)?;
    let heads = ["ID", "USER", "NAME", "ROLE", "SCOPE", "EXPIRES (UTC)", "USED (UTC)"];
    print_list(&found, json, heads, |token| {
        [
            token.id.clone(),
            token.account.clone(),
            token.name.clone(),
            token.role.to_string(),
            format_scope(&token.scope).to_owned(),
            when(token.expires_at),
            when(token.used_at),
        ]
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Role;

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
