//! What a store that is there says about the settings: what exceeds a quota, and users that are easily confused.

use std::sync::Arc;

use super::errors::StartError;
use super::open::quotas;
use crate::auth::{WatchedUsers, find_look_alikes};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::metadata::sqlite::{Access, OpenError, SqliteMetadata};
use crate::metadata::{Accounts, QuotaUse, Quotas};

/// Warnings for an operator. Changes nothing, also while a server uses the store. Where there is no store yet, only the
/// files of the settings are looked at.
///
/// # Errors
/// [`StartError`] if the metadata cannot be read.
pub async fn survey(config: &Config) -> Result<Vec<String>, StartError> {
    let mut names = names_in_file(config);
    let mut warnings = Vec::new();
    match SqliteMetadata::open(&config.metadata_dir(), Access::ReadOnly) {
        Ok(metadata) => {
            let quotas = metadata.measure_quotas(&quotas(config)).await?;
            warnings.extend(quotas.iter().flat_map(QuotaUse::exceeded).map(|exceeded| exceeded.to_string()));
            let records = metadata.accounts().await?;
            names.extend(records.accounts.into_iter().map(|account| account.name));
        }
        // There is none yet, or the next start brings it up to this version first.
        Err(OpenError::NotReady(_)) => {}
        Err(error) => return Err(error.into()),
    }
    warnings.extend(find_look_alikes(names).iter().map(ToString::to_string));
    Ok(warnings)
}

fn names_in_file(config: &Config) -> Vec<String> {
    let path = config.auth.htpasswd.as_deref();
    let users = path.and_then(|path| WatchedUsers::open(path, Arc::new(SystemClock)).ok());
    users.map(|users| users.names()).unwrap_or_default()
}
