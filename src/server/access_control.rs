//! The access_control that the settings want.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::errors::StartError;
use crate::auth::{
    AccessControl, AccessSettings, Accounts, Authority, Identities, Provider, TokenKey, Tokens, WatchedUsers,
};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, IdentityProvider};
use crate::metadata::MetadataStore;
use crate::outbound;
use crate::text_file;

/// The file of the key that tokens are signed with.
const TOKEN_KEY: &str = "tokens.key";

/// The access_control, once what the settings name could be read. Its tokens outlive a restart if their key has a folder. Passwords
/// are compared in the `background`.
///
/// # Errors
/// [`StartError`].
pub async fn load_access_control(
    config: &Config,
    metadata: Arc<dyn MetadataStore>,
    keys: Option<&Path>,
    background: Option<&Handle>,
) -> Result<AccessControl, StartError> {
    let auth = &config.auth;
    let file = keys.map(|folder| folder.join(TOKEN_KEY));
    let key = file.as_deref().map_or_else(TokenKey::random, TokenKey::load_or_make);
    let key = key.map_err(|error| {
        let file = file.clone().unwrap_or_default();
        wrong("metadata.dir", format!("tokens have no key: {}: {error}", file.display()))
    })?;
    let settings = AccessSettings {
        htpasswd: auth.htpasswd.clone(),
        htpasswd_role: auth.htpasswd_role.0,
        aside: background.cloned(),
        modes: auth.modes().map_err(|(key, why)| wrong(key, why))?,
    };
    let accounts = Arc::new(Accounts::load(metadata).await?);
    let tokens = Tokens::new(&key, auth.token_lifetime.0);
    let tokens = match file {
        Some(file) => tokens.kept_in(file),
        None => tokens,
    };
    let access_control = AccessControl::new(settings, accounts, tokens, Arc::new(SystemClock));
    let access_control = access_control.map_err(|error| {
        let path = auth.htpasswd.clone().unwrap_or_default();
        wrong("auth.htpasswd", format!("{} cannot be read: {error}", path.display()))
    })?;
    Ok(access_control.with_identity_providers(identities(config)?))
}

/// Those whose word counts.
fn identities(config: &Config) -> Result<Identities, StartError> {
    let authority = config.token_authority.settings();
    let authority = authority.map_err(|key| wrong(key, "is missing".to_owned()))?;
    if config.identity_providers.is_empty() && authority.is_none() {
        return Ok(Identities::default());
    }
    let of_authority = authority.as_ref().map(|authority| ("token_authority.keys", &authority.keys));
    let of_providers = config.identity_providers.iter().filter_map(|provider| provider.keys.as_ref());
    let of_providers = of_providers.map(|keys| ("identity_providers", &keys.0));
    for (key, source) in of_authority.into_iter().chain(of_providers) {
        source.check().map_err(|error| wrong(key, format!("{source} has no keys: {error}")))?;
    }
    let client = outbound::client(config.outbound.ca_file.as_deref());
    let client = client.map_err(|error| wrong("outbound.ca_file", error.to_string()))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let provider = |setting: &IdentityProvider| {
        let told = setting.client_secret_file.as_deref().map(secret).transpose();
        let secret = told.map_err(|why| wrong("identity_providers", format!("client_secret_file: {why}")))?;
        let made = Provider::new(&setting.settings(secret), client.clone(), Arc::clone(&clock));
        made.map_err(|(at, error)| wrong("identity_providers", format!("rules[{at}]: {error}")))
    };
    let providers = config.identity_providers.iter().map(provider).collect::<Result<_, _>>()?;
    let authority = authority.map(|settings| Authority::new(settings, client.clone(), Arc::clone(&clock)));
    Ok(Identities::new(providers, authority))
}

/// A secret in a file, as containers get them.
fn secret(path: &Path) -> Result<String, String> {
    let text =
        text_file::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn wrong(key: &'static str, message: String) -> StartError {
    StartError::Setting { key, message }
}

/// Looks whether the files can be read that the access_control is made from.
///
/// # Errors
/// [`StartError`].
pub fn check_access_control_files(config: &Config) -> Result<(), StartError> {
    if let Some(path) = &config.auth.htpasswd {
        let read = WatchedUsers::open(path, Arc::new(SystemClock));
        read.map_err(|error| wrong("auth.htpasswd", format!("{} cannot be read: {error}", path.display())))?;
    }
    identities(config)?;
    told_password(config).map(drop)
}

/// The first administrator's password, if the settings tell it.
fn told_password(config: &Config) -> Result<Option<String>, StartError> {
    match (&config.auth.admin_password, &config.auth.admin_password_file) {
        (Some(secret), _) => Ok(Some(secret.0.clone())),
        (None, Some(path)) => secret(path).map(Some).map_err(|why| wrong("auth.admin_password_file", why)),
        (None, None) => Ok(None),
    }
}

/// Sees to it that there is an administrator with the password that the settings tell. Gives back the password where
/// none is told and one was made.
///
/// # Errors
/// [`StartError`].
pub async fn first_administrator(
    config: &Config,
    access_control: &AccessControl,
) -> Result<Option<String>, StartError> {
    let made = access_control.first_administrator(told_password(config)?, SystemClock.now()).await;
    made.map_err(|error| wrong("auth.admin_password", error.to_string()))
}
