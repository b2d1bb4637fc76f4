//! `orlop token`.

use std::process::ExitCode;

use http::Method;

use super::args::TokenCommand;
use super::connect::{change, fetch};
use super::org::format_scope;
use super::table::{Table, print_json, when, write_out};
use super::{Failure, exit_code, start};
use crate::config::Config;
use crate::http::api::{AccessToken, RotateRequest, TokenMade, TokenParameters, TokenRequest};
use crate::metadata::ScopedRole;
use crate::server::admin::path;

pub(super) fn run(config: &Config, command: TokenCommand) -> Result<ExitCode, Failure> {
    match command {
        TokenCommand::Add { user, may: ScopedRole { role, scope }, name, expires, output } => {
            let seconds = expires.map(|expires| expires.as_secs());
            let request = TokenRequest { account: user, name, role, scope, seconds };
            let made: TokenMade = change(config, Method::POST, &path(&["tokens"]), Some(&request))?;
            if output.json {
                print_json(&made);
            } else {
                let AccessToken { id, account, role, scope, .. } = &made.token;
                write_out(&format!(
                    "token {id} grants {role} on {} as {account}; use this instead of the password:\n{}\n",
                    format_scope(scope),
                    made.secret
                ));
            }
        }
        TokenCommand::List { user, output } => list(config, user, output.json)?,
        TokenCommand::RotateKey { at_once } => {
            let request = RotateRequest { at_once };
            change::<_, ()>(config, Method::POST, &path(&["token-keys", "rotate"]), Some(&request))?;
            write_out("tokens are now signed with a new key\n");
        }
        TokenCommand::Revoke { id } => {
            change::<(), ()>(config, Method::DELETE, &path(&["tokens", &id]), None)?;
            write_out(&format!("revoked token {id}\n"));
        }
    }
    Ok(exit_code(true))
}

fn list(config: &Config, account: Option<String>, json: bool) -> Result<(), Failure> {
    let parameters = TokenParameters { account };
    let found: Vec<AccessToken> = start()?.block_on(fetch(config, &path(&["tokens"]), &parameters))?;
    if json {
        print_json(&found);
        return Ok(());
    }
    let mut table = Table::new(["ID", "USER", "NAME", "ROLE", "SCOPE", "EXPIRES (UTC)", "USED (UTC)"]);
    for token in found {
        table.row([
            token.id,
            token.account,
            token.name,
            token.role.to_string(),
            format_scope(&token.scope).to_owned(),
            when(token.expires_at),
            when(token.used_at),
        ]);
    }
    table.print();
    Ok(())
}
