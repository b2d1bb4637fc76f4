//! Builds the access control that the settings describe: accounts, tokens, identity providers, first administrator.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::errors::StartError;
use crate::auth::{
    AccessControl, AccessSettings, Accounts, Authority, HtpasswdFile, Identities, Provider, SessionSettings,
    TokenKey, Tokens,
};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, IdentityProvider};
use crate::errors::Context;
use crate::metadata::Metadata;
use crate::outbound;
use crate::text_file;

/// The name of the file that stores the key for signing tokens.
const TOKEN_KEY_FILE: &str = "tokens.key";

/// Builds the access control and reads the files that the settings name. The key that signs tokens is stored in
/// `key_folder`; if that is `None`, tokens are invalid after a restart. Passwords are hashed on the threads of
/// `background`.
///
/// # Errors
/// Fails if a file cannot be read or a setting is invalid.
pub async fn load_access_control(
    config: &Config,
    metadata: Arc<Metadata>,
    key_folder: Option<&Path>,
    background: Option<&Handle>,
) -> Result<AccessControl, StartError> {
    let auth = &config.auth;
    let key_file = key_folder.map(|folder| folder.join(TOKEN_KEY_FILE));
    let key = key_file.as_deref().map_or_else(TokenKey::random, TokenKey::load_or_create);
    let key = key.map_err(|error| {
        let file = key_file.clone().unwrap_or_default();
        StartError::setting(
            "metadata.dir",
            Context::new(format!("no key for tokens: {}", file.display()), error),
        )
    })?;
    let settings = AccessSettings {
        htpasswd: auth.htpasswd.clone(),
        htpasswd_role: auth.htpasswd_role.0,
        sessions: SessionSettings {
            idle_timeout: auth.session_idle_timeout.0,
            lifetime: auth.session_lifetime.0,
        },
        low_priority_threads: background.cloned(),
        modes: auth.modes().map_err(|(key, why)| StartError::setting(key, why))?,
    };
    let accounts = Arc::new(Accounts::load(metadata).await?);
    let tokens = Tokens::new(&key, auth.token_lifetime.0);
    let tokens = match key_file {
        Some(file) => tokens.with_key_file(file),
        None => tokens,
    };
    let access_control = AccessControl::new(settings, accounts, tokens, Arc::new(SystemClock));
    let access_control = access_control.map_err(|error| {
        let path = auth.htpasswd.clone().unwrap_or_default();
        StartError::setting("auth.htpasswd", unreadable(&path, error))
    })?;
    Ok(access_control.with_identity_providers(build_identities(config)?))
}

/// Builds the trusted identity providers and token authority.
fn build_identities(config: &Config) -> Result<Identities, StartError> {
    let authority = config.token_authority.settings();
    let authority = authority.map_err(|key| StartError::setting(key, "is missing"))?;
    if config.identity_providers.is_empty() && authority.is_none() {
        return Ok(Identities::default());
    }
    let of_authority = authority.as_ref().map(|authority| ("token_authority.keys", &authority.keys));
    let of_providers = config.identity_providers.iter().filter_map(|provider| provider.keys.as_ref());
    let of_providers = of_providers.map(|keys| ("identity_providers", &keys.0));
    for (key, source) in of_authority.into_iter().chain(of_providers) {
        source.check().map_err(|error| {
            StartError::setting(key, Context::new(format!("{source} has no keys"), error))
        })?;
    }
    let client = outbound::client(config.outbound.ca_file.as_deref());
    let client = client.map_err(|error| StartError::setting("outbound.ca_file", error))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let build_provider = |setting: &IdentityProvider| {
        let secret = setting.client_secret_file.as_deref().map(read_secret).transpose();
        let secret = secret.map_err(|why| {
            StartError::setting("identity_providers", Context::new("client_secret_file", why))
        })?;
        let built = Provider::new(&setting.settings(secret), client.clone(), Arc::clone(&clock));
        built.map_err(|(at, error)| {
            StartError::setting("identity_providers", Context::new(format!("rules[{at}]"), error))
        })
    };
    let providers = config.identity_providers.iter().map(build_provider).collect::<Result<_, _>>()?;
    let authority = authority.map(|settings| Authority::new(settings, client.clone(), Arc::clone(&clock)));
    Ok(Identities::new(providers, authority))
}

/// Reads a secret from a file. Containers receive their secrets as files, often with a newline at the end.
fn read_secret(path: &Path) -> Result<String, Context> {
    let text = text_file::read(path).map_err(|error| unreadable(path, error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn unreadable(path: &Path, error: io::Error) -> Context {
    Context::new(format!("{} cannot be read", path.display()), error)
}

/// Checks the settings for access control, and that the files that they name can be read.
///
/// # Errors
/// Fails if a file cannot be read or a setting is invalid.
pub fn check_access_control_files(config: &Config) -> Result<(), StartError> {
    if let Some(path) = &config.auth.htpasswd {
        let read = HtpasswdFile::open(path, Arc::new(SystemClock));
        read.map_err(|error| StartError::setting("auth.htpasswd", unreadable(path, error)))?;
    }
    build_identities(config)?;
    configured_password(config).map(drop)
}

/// Returns the first administrator's password, if it is configured.
fn configured_password(config: &Config) -> Result<Option<String>, StartError> {
    match (&config.auth.admin_password, &config.auth.admin_password_file) {
        (Some(secret), _) => Ok(Some(secret.0.clone())),
        (None, Some(path)) => {
            read_secret(path).map(Some).map_err(|why| StartError::setting("auth.admin_password_file", why))
        }
        (None, None) => Ok(None),
    }
}

/// Ensures that the first administrator exists and has the configured password. If the account is missing and no
/// password is configured, generates a password and returns it.
///
/// # Errors
/// Fails if the password cannot be read or the account cannot be stored.
pub(super) async fn ensure_administrator(
    config: &Config,
    access_control: &AccessControl,
) -> Result<Option<String>, StartError> {
    let created =
        access_control.ensure_first_administrator(configured_password(config)?, SystemClock.now()).await;
    created.map_err(|error| StartError::setting("auth.admin_password", error))
}
