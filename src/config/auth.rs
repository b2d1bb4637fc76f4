//! Who comes in, and what they may do without being granted anything.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::Span;
use crate::auth::{Mode, Modes};
use crate::metadata::Role;

/// Who comes in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// What everybody may do; default: everything until there is a user, and nothing then.
    pub mode: Option<Mode>,
    /// The same for some repositories. The first that matches counts.
    pub modes: Vec<ModeSetting>,
    /// Globs of repositories that everybody may pull, whatever the mode.
    pub public: Vec<String>,
    /// A file of users and bcrypt hashes, as `htpasswd -B` writes it.
    pub htpasswd: Option<PathBuf>,
    /// What its users may do to every repository, besides what they are granted.
    pub htpasswd_role: FileRole,
    /// The first administrator's password; default: one is made at the first start and shown once.
    pub admin_password: Option<Secret>,
    /// A file with that password.
    pub admin_password_file: Option<PathBuf>,
    /// For how long a token is good.
    pub token_lifetime: Span,
}

/// What everybody may do to some repositories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeSetting {
    /// Which, by globs.
    pub repositories: Vec<String>,
    /// What.
    pub mode: Mode,
}

impl Auth {
    /// What everybody may do where.
    ///
    /// # Errors
    /// A key, and what is wrong with its globs.
    pub fn modes(&self) -> Result<Modes, (&'static str, String)> {
        let with = |modes: Modes, setting: &ModeSetting| modes.with(&setting.repositories, setting.mode);
        let modes = self.modes.iter().try_fold(Modes::of(self.mode), with);
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

/// A text that is never shown.
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
