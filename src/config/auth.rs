//! `[auth]`: access modes, user file, first administrator and token lifetime.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::Span;
use crate::auth::{AnonymousMode, AnonymousModes};
use crate::metadata::Role;

/// Authentication and authorisation settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Permissions of anonymous users. By default they may do everything until there is a user, and nothing from then
    /// on.
    pub mode: Option<AnonymousMode>,
    /// Modes of certain repositories. The first match applies.
    pub modes: Vec<ModeSetting>,
    /// Globs of repositories that anyone may pull in any mode.
    pub public: Vec<String>,
    /// File of users and bcrypt hashes, as written by `htpasswd -B`.
    pub htpasswd: Option<PathBuf>,
    /// Role of the file's users on all repositories, in addition to their grants.
    pub htpasswd_role: FileRole,
    /// Password of the first administrator. By default one is generated at the first start and shown once.
    pub admin_password: Option<Secret>,
    /// File with that password.
    pub admin_password_file: Option<PathBuf>,
    /// Lifetime of the tokens that clients get.
    pub token_lifetime: Span,
}

/// The mode of certain repositories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeSetting {
    /// Globs of the repositories.
    pub repositories: Vec<String>,
    /// The mode.
    pub mode: AnonymousMode,
}

impl Auth {
    /// Returns the modes by repository.
    ///
    /// # Errors
    /// Returns the key of an invalid glob and a message.
    pub fn modes(&self) -> Result<AnonymousModes, (&'static str, String)> {
        let add = |modes: AnonymousModes, setting: &ModeSetting| {
            modes.with_override(&setting.repositories, setting.mode)
        };
        let modes = self.modes.iter().try_fold(AnonymousModes::with_default(self.mode), add);
        let modes = modes.map_err(|why| ("auth.modes", why))?;
        modes.with_public(&self.public).map_err(|why| ("auth.public", why))
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            mode: None,
            modes: Vec::new(),
            public: Vec::new(),
            htpasswd: None,
            htpasswd_role: FileRole(Some(Role::Delete)),
            admin_password: None,
            admin_password_file: None,
            token_lifetime: Span(std::time::Duration::from_secs(5 * 60)),
        }
    }
}

/// A role, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRole(pub Option<Role>);

impl Serialize for FileRole {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.map_or("none", Role::name))
    }
}

impl<'de> Deserialize<'de> for FileRole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let role = match text.as_str() {
            "none" => None,
            role => Some(role.parse().map_err(|_| {
                serde::de::Error::custom("expected \"none\", \"pull\", \"push\", \"delete\" or \"admin\"")
            })?),
        };
        Ok(Self(role))
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("(set)")
    }
}
