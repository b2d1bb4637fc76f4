//! `[auth]`, `[[identity_providers]]` and `[token_authority]`: access modes, users, and external sources of identities
//! and tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use super::text::{Text, display_inner, text_serde};
use super::units::Span;
use crate::auth::{
    AnonymousMode, AnonymousModes, AuthoritySettings, KeySource, ProviderSettings, RuleSettings, ScopedRole,
    SignInSettings,
};
use crate::metadata::{Role, Team, check_name};
use crate::outbound;

text_serde!(PrivateUrl, KeysAt, ProviderName);
display_inner!(PrivateUrl, KeysAt, ProviderName);

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
    /// How long a browser session lasts after its last use.
    pub session_idle_timeout: Span,
    /// How long a browser session lasts after its start.
    pub session_lifetime: Span,
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
            token_lifetime: Span::seconds(5 * 60),
            session_idle_timeout: Span::hours(3 * 24),
            session_lifetime: Span::hours(30 * 24),
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

/// An OpenID Connect provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityProvider {
    /// Name of the provider in this registry.
    pub name: ProviderName,
    /// The provider's issuer identifier.
    pub issuer: PrivateUrl,
    /// Audience that tokens of jobs must have. Without it, such tokens are rejected.
    pub audience: Option<String>,
    /// Source of the provider's public keys. By default it is discovered from the issuer.
    pub keys: Option<KeysAt>,
    /// How long a job stays logged in.
    #[serde(default = "visit")]
    pub visit: Span,
    /// Client id of this registry at the provider. Without it, people cannot sign in with the provider.
    pub client_id: Option<String>,
    /// Client secret of this registry at the provider.
    pub client_secret: Option<Secret>,
    /// File with that secret.
    pub client_secret_file: Option<PathBuf>,
    /// Scopes to request when people sign in.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// Claim that holds the name of a person's account.
    #[serde(default = "user_claim")]
    pub user_claim: String,
    /// Lifetime of the access token that a person receives after signing in.
    #[serde(default = "token_lifetime")]
    pub token_lifetime: Span,
    /// Rules that map claims to permissions and teams.
    #[serde(default)]
    pub rules: Vec<ProviderRule>,
}

fn visit() -> Span {
    Span::hours(1)
}

fn scopes() -> Vec<String> {
    vec!["openid".into(), "profile".into()]
}

fn user_claim() -> String {
    "preferred_username".into()
}

fn token_lifetime() -> Span {
    Span::hours(7 * 24)
}

/// Maps claims to permissions and teams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderRule {
    /// Required claims by name. One of the globs must match the claim's value.
    pub claims: BTreeMap<String, Globs>,
    /// Permissions of jobs with these claims.
    #[serde(default)]
    pub may: Vec<AsText<ScopedRole>>,
    /// Teams of people with these claims.
    #[serde(default)]
    pub teams: Vec<AsText<Team>>,
}

/// A glob, or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a glob, or a list of globs")]
pub enum Globs {
    /// A single glob.
    One(String),
    /// A list of globs.
    Some(Vec<String>),
}

impl IdentityProvider {
    /// Builds the provider settings for the access control. `secret` is the content of the secret's file.
    pub fn settings(&self, secret: Option<String>) -> ProviderSettings {
        let sign_in = self.client_id.clone().map(|client_id| SignInSettings {
            client_id,
            client_secret: secret.or_else(|| self.client_secret.as_ref().map(|secret| secret.0.clone())),
            scopes: self.scopes.clone(),
            user_claim: self.user_claim.clone(),
            token_lifetime: self.token_lifetime.0,
        });
        ProviderSettings {
            name: self.name.0.clone(),
            issuer: self.issuer.0.clone(),
            audience: self.audience.clone(),
            keys: self.keys.clone().map(|keys| keys.0),
            visit: self.visit.0,
            sign_in,
            rules: self.rules.iter().map(ProviderRule::settings).collect(),
        }
    }
}

impl ProviderRule {
    fn settings(&self) -> RuleSettings {
        let globs = |globs: &Globs| match globs {
            Globs::One(glob) => vec![glob.clone()],
            Globs::Some(globs) => globs.clone(),
        };
        RuleSettings {
            claims: self.claims.iter().map(|(name, list)| (name.clone(), globs(list))).collect(),
            may: self.may.iter().map(|may| may.0.clone()).collect(),
            teams: self.teams.iter().map(|team| team.0.clone()).collect(),
        }
    }
}

/// An external token server that clients get their tokens from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenAuthority {
    /// URL at which clients request tokens.
    pub realm: Option<PrivateUrl>,
    /// Name of this registry at the token server, which tokens must have as their audience.
    pub service: Option<String>,
    /// Issuer that tokens must have.
    pub issuer: Option<String>,
    /// Source of the public keys that verify tokens.
    pub keys: Option<KeysAt>,
}

impl TokenAuthority {
    /// Builds the settings for the access control, if a token server is configured.
    ///
    /// # Errors
    /// Returns the key that is missing.
    pub fn settings(&self) -> Result<Option<AuthoritySettings>, &'static str> {
        if *self == Self::default() {
            return Ok(None);
        }
        Ok(Some(AuthoritySettings {
            realm: self.realm.as_ref().ok_or("token_authority.realm")?.0.to_string(),
            service: self.service.clone().ok_or("token_authority.service")?,
            issuer: self.issuer.clone().ok_or("token_authority.issuer")?,
            keys: self.keys.clone().ok_or("token_authority.keys")?.0,
        }))
    }
}

/// A URL whose responses cannot be changed on the network: HTTPS, or on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateUrl(pub Url);

impl Text for PrivateUrl {
    const EXPECTED: &'static str =
        "an HTTPS URL, such as \"https://id.example.com\" (HTTP is allowed for this machine only)";

    fn parse(text: &str) -> Option<Self> {
        let url: Url = text.parse().ok()?;
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        (plain && outbound::is_protected(&url)).then_some(Self(url))
    }
}

/// Source of public keys: a file or a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysAt(pub KeySource);

impl Text for KeysAt {
    const EXPECTED: &'static str = "a file, nor an HTTPS URL";

    fn parse(text: &str) -> Option<Self> {
        match text.contains("://") {
            true => PrivateUrl::parse(text).map(|url| Self(KeySource::Jwks(url.0))),
            false => (!text.is_empty()).then(|| Self(KeySource::File(text.into()))),
        }
    }
}

/// Name of an identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderName(pub String);

impl Text for ProviderName {
    const EXPECTED: &'static str = "a name: 1 to 64 letters, digits and . _ - + after a letter or digit";

    fn parse(text: &str) -> Option<Self> {
        check_name(text).ok().map(|()| Self(text.to_owned()))
    }
}

/// A value that is read and written as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsText<T>(pub T);

impl<T: fmt::Display> Serialize for AsText<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for AsText<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(|error| serde::de::Error::custom(format_args!("{text:?}: {error}")))
    }
}
