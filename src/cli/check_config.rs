//! `orlop check-config`.

use std::process::ExitCode;

use serde_json::json;

use super::args::Common;
use super::table::{print_json, write_error, write_out};
use super::{Failure, exit_code, start};
use crate::config::Config;
use crate::server::{check_access_control_files, check_certificates, survey};

/// By now the settings have been read; what is left is to see whether the files that they name can be used.
pub(super) fn run(common: &Common, config: &Config, json: bool) -> Result<ExitCode, Failure> {
    check_certificates(config)?;
    check_access_control_files(config)?;
    let of_policies = config.retention.policies().compile().map(|(_, warnings)| warnings).unwrap_or_default();
    let of_policies = of_policies.iter().map(ToString::to_string);
    let mut warnings: Vec<_> = config.warnings().into_iter().chain(of_policies).collect();
    match start()?.block_on(survey(config)) {
        Ok(of_store) => warnings.extend(of_store),
        Err(error) => warnings.push(format!("the store was not compared with the settings: {error}")),
    }
    for warning in &warnings {
        write_error(&format!("warning: {warning}"));
    }
    if json {
        let file = common.config.as_ref().map(|path| path.display().to_string());
        print_json(&json!({ "file": file, "settings": config, "warnings": warnings }));
    } else {
        let from = match &common.config {
            Some(path) => format!("# {} is fine. In force:", path.display()),
            None => "# No configuration file. In force:".to_owned(),
        };
        let settings = toml::to_string(config).unwrap_or_default();
        write_out(&format!("{from}\n\n{}\n", settings.trim_end()));
    }
    Ok(exit_code(true))
}
