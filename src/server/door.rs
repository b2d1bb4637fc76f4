//! The door that the settings want.

use std::path::Path;
use std::sync::Arc;

use super::errors::StartError;
use crate::auth::{Door, TokenKey, Tokens};
use crate::clock::SystemClock;
use crate::config::Config;

/// The file of the key that tokens are signed with.
const TOKEN_KEY: &str = "tokens.key";

/// The door, once what the settings name could be read. Its tokens outlive a restart if their key has a folder.
///
/// # Errors
/// [`StartError::Setting`].
pub fn door(config: &Config, keys: Option<&Path>) -> Result<Door, StartError> {
    let auth = &config.auth;
    let Some(htpasswd) = &auth.htpasswd else {
        return Ok(Door::open());
    };
    let door = Door::locked(htpasswd, Arc::new(SystemClock)).map_err(|error| StartError::Setting {
        key: "auth.htpasswd",
        message: format!("{} cannot be read: {error}", htpasswd.display()),
    })?;
    let public = auth.public();
    if public.is_empty() {
        return Ok(door);
    }
    let file = keys.map(|folder| folder.join(TOKEN_KEY));
    let key = file.as_deref().map_or_else(TokenKey::random, TokenKey::load_or_make);
    let key = key.map_err(|error| StartError::Setting {
        key: "auth.public",
        message: format!("tokens have no key: {}: {error}", file.unwrap_or_default().display()),
    })?;
    Ok(door.with_public(public, Tokens::new(&key, auth.token_lifetime.0)))
}
