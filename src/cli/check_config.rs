//! `orlop check-config`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::connect::start_runtime;
use super::failure::{Failure, exit_code};
use super::terminal::{print_json, write_error, write_out};
use crate::config::Config;
use crate::errors::Chain;
use crate::server::{check_access_control_files, check_certificates, survey};

/// Checks that the files that the settings name can be used. The settings themselves are valid by now.
pub(super) fn run(file: Option<&Path>, config: &Config, json: bool) -> Result<ExitCode, Failure> {
    check_certificates(config)?;
    check_access_control_files(config)?;
    let policies = config.retention.policies().compile().map(|(_, warnings)| warnings).unwrap_or_default();
    let policy_warnings = policies.iter().map(ToString::to_string);
    let mut warnings: Vec<_> = config.warnings().into_iter().chain(policy_warnings).collect();
    match start_runtime()?.block_on(survey(config)) {
        Ok(store_warnings) => warnings.extend(store_warnings),
        Err(error) => warnings.push(format!("cannot compare the settings with the store: {}", Chain(&error))),
    }
    for warning in &warnings {
        write_error(&format!("warning: {warning}"));
    }
    if json {
        let file = file.map(|path| path.display().to_string());
        print_json(&json!({ "file": file, "settings": config, "warnings": warnings }));
    } else {
        let from = match file {
            Some(path) => format!("# {} is valid. Effective settings:", path.display()),
            None => "# No configuration file. Effective settings:".to_owned(),
        };
        let settings = toml::to_string(config).unwrap_or_default();
        write_out(&format!("{from}\n\n{}\n", settings.trim_end()));
    }
    Ok(exit_code(true))
}
