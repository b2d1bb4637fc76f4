//! `orlop can`.

use std::process::ExitCode;

use super::connect::fetch;
use super::table::{print_json, write_out};
use super::{Failure, exit_code, start};
use crate::config::Config;
use crate::http::api::{Can, CanParameters};
use crate::metadata::Role;
use crate::oci::RepoName;
use crate::printable::escape;
use crate::server::admin::path;

/// Prints whether `user` may do `action` in a repository, and why. `@everybody` stands for anonymous users.
pub(super) fn run(
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
    let found: Can = start()?.block_on(fetch(config, &path(&["can"]), &parameters))?;
    if json {
        print_json(&found);
    } else {
        let may = if found.allowed { "may" } else { "may not" };
        let mut text = format!("{user} {may} {action} {repository}\n");
        for reason in &found.because {
            text += &format!("  {}\n", escape(reason));
        }
        write_out(&text);
    }
    Ok(exit_code(found.allowed))
}
