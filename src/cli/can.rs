//! `orlop can`.

use std::process::ExitCode;

use super::connect::fetch;
use super::table::print_result;
use super::{Failure, exit_code};
use crate::config::Config;
use crate::http::api::{Can, CanParameters};
use crate::metadata::Role;
use crate::oci::RepoName;
use crate::printable::escape;

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
    let found: Can = fetch(config, &["can"], &parameters)?;
    print_result(&found, json, |found| {
        let may = if found.allowed { "may" } else { "may not" };
        let reasons: String = found.because.iter().map(|reason| format!("  {}\n", escape(reason))).collect();
        format!("{user} {may} {action} {repository}\n{reasons}")
    });
    Ok(exit_code(found.allowed))
}
