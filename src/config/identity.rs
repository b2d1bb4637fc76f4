//! Those whose word counts for who somebody is.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use super::auth::Secret;
use super::text::{Text, text_serde};
use super::units::Span;
use crate::auth::{AuthoritySettings, KeySource, ProviderSettings, RuleSettings, SignInSettings};
use crate::metadata::{May, Team, check_name};
use crate::outbound;

text_serde!(PrivateUrl, KeysAt, ProviderName);

/// A provider of OpenID Connect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityProvider {
    /// What it is called here.
    pub name: ProviderName,
    /// Who it says it is.
    pub issuer: PrivateUrl,
    /// Whom tokens of jobs must be for; without it none are taken.
    pub audience: Option<String>,
    /// Where its keys are; default: where it says.
    pub keys: Option<KeysAt>,
    /// For how long a job may go on that logged in.
    #[serde(default = "visit")]
    pub visit: Span,
    /// What this registry is called there; without it nobody signs in by it.
    pub client_id: Option<String>,
    /// What this registry proves that with.
    pub client_secret: Option<Secret>,
    /// A file with that secret.
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for of people who sign in.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The claim that is the name of a person's account.
    #[serde(default = "user_claim")]
    pub user_claim: String,
    /// For how long the access token is good that somebody gets who signs in.
    #[serde(default = "token_lifetime")]
    pub token_lifetime: Span,
    /// What claims give.
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
    Span(Duration::from_secs(7 * 24 * 60 * 60))
}

/// What claims give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderRule {
    /// What must be claimed: by name, globs of which one matches.
    pub claims: BTreeMap<String, Globs>,
    /// What jobs may do that claim it.
    #[serde(default)]
    pub may: Vec<AsText<May>>,
    /// The teams that people are in who claim it.
    #[serde(default)]
    pub teams: Vec<AsText<Team>>,
}

/// A glob, or a list of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a glob, or a list of globs")]
pub enum Globs {
    /// One.
    One(String),
    /// Some.
    Some(Vec<String>),
}

impl IdentityProvider {
    /// As the access_control has it. `secret` is what its file has.
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

/// Another authority that clients get their tokens from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenAuthority {
    /// Where clients get tokens.
    pub realm: Option<PrivateUrl>,
    /// What this registry is called there, and whom tokens must be for.
    pub service: Option<String>,
    /// Who tokens must be by.
    pub issuer: Option<String>,
    /// Where the keys are that it signs with.
    pub keys: Option<KeysAt>,
}

impl TokenAuthority {
    /// As the access_control has it, if there is one.
    ///
    /// # Errors
    /// The key that is missing.
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

/// The address of a server where nobody on the way can change what it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateUrl(pub Url);

impl Text for PrivateUrl {
    const EXPECTED: &'static str =
        "a URL of HTTPS, such as \"https://id.example.com\" (HTTP may go to this machine alone)";

    fn parse(text: &str) -> Option<Self> {
        let url: Url = text.parse().ok()?;
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        (plain && outbound::is_private(&url)).then_some(Self(url))
    }
}

impl fmt::Display for PrivateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where public keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysAt(pub KeySource);

impl Text for KeysAt {
    const EXPECTED: &'static str = "a file, nor a URL of HTTPS";

    fn parse(text: &str) -> Option<Self> {
        match text.contains("://") {
            true => PrivateUrl::parse(text).map(|url| Self(KeySource::Set(url.0))),
            false => (!text.is_empty()).then(|| Self(KeySource::File(text.into()))),
        }
    }
}

impl fmt::Display for KeysAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a provider is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderName(pub String);

impl Text for ProviderName {
    const EXPECTED: &'static str = "a name: 1 to 64 letters, digits and . _ - + after a letter or digit";

    fn parse(text: &str) -> Option<Self> {
        check_name(text).ok().map(|()| Self(text.to_owned()))
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something as it is spelt elsewhere too.
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
