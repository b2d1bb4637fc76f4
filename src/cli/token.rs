//! `orlop token`.

use std::process::ExitCode;

use http::Method;

use super::args::TokenCommand;
use super::connect::{change, fetch, remove};
use super::org::format_scope;
use super::table::{print_list, print_result, when, write_out};
use super::{Failure, exit_code};
use crate::auth::ScopedRole;
use crate::config::Config;
use crate::http::api::{AccessToken, RotateRequest, TokenMade, TokenParameters, TokenRequest};

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
