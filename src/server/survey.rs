//! Checks the settings against an existing store, for `check-config`: exceeded quotas and confusable user names.

use std::sync::Arc;

use super::errors::StartError;
use super::settings::quotas;
use crate::auth::{HtpasswdFile, find_look_alikes};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::metadata::QuotaUse;
use crate::metadata::sqlite::OpenError;
use crate::metadata::{Access, Metadata};

/// Returns warnings for the operator. Changes nothing, even while a server uses the store. Without a store only the
/// files that the settings name are checked.
///
/// # Errors
/// Fails if the metadata cannot be read.
pub async fn survey(config: &Config) -> Result<Vec<String>, StartError> {
    let mut names = user_names_in_file(config);
    let mut warnings = Vec::new();
    match Metadata::open(&config.metadata_dir(), Access::ReadOnly) {
        Ok(metadata) => {
            let quotas = metadata.measure_quotas(&quotas(config)).await?;
            warnings.extend(quotas.iter().flat_map(QuotaUse::exceeded).map(|exceeded| exceeded.to_string()));
            let records = metadata.accounts().await?;
            names.extend(records.accounts.into_iter().map(|account| account.name));
        }
        // There is no database yet, or the next start migrates it first.
        Err(OpenError::NotReady(_)) => {}
        Err(error) => return Err(error.into()),
    }
    warnings.extend(find_look_alikes(names).iter().map(ToString::to_string));
    Ok(warnings)
}

fn user_names_in_file(config: &Config) -> Vec<String> {
    let path = config.auth.htpasswd.as_deref();
    let users = path.and_then(|path| HtpasswdFile::open(path, Arc::new(SystemClock)).ok());
    users.map(|users| users.names()).unwrap_or_default()
}
