//! Verifies tokens of an OpenID Connect provider and evaluates the provider's rules on their claims.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use thiserror::Error;
use url::Url;

use super::jwks::KeysError;
use super::keys::{KeySource, Keys};
use super::rules::{Rule, RuleError, RuleSettings};
use super::sign_in::{Attempt, SignIn, SignInSettings, is_for_attempt};
use super::signed::{Claims, ExpectedParties, TokenError, subject, verify};
use crate::auth::principal::FederatedIdentity;
use crate::auth::secret::credential_fingerprint;
use crate::clock::{Clock, Timestamp};
use crate::errors::BoxError;
use crate::metadata::Team;

/// The settings of a provider.
///
/// Issued tokens carry a fingerprint of the `Debug` text of these settings. Renaming this type, a field, or a type that
/// it contains therefore invalidates the tokens of federated identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// The name of the provider in this registry.
    pub name: String,
    /// The issuer of its tokens, which is the beginning of its address.
    pub issuer: Url,
    /// The audience of the tokens of jobs; `None` if jobs don't use this provider.
    pub audience: Option<String>,
    /// Where its keys are published; by default, discovered at `issuer`.
    pub keys: Option<KeySource>,
    /// How long a job may get new tokens after it logged in with a token of the provider.
    pub visit: Duration,
    /// How people sign in; `None` if they can't.
    pub sign_in: Option<SignInSettings>,
    /// Which claims give which roles and teams.
    pub rules: Vec<RuleSettings>,
}

/// An OpenID Connect provider.
pub struct Provider {
    /// The name of the provider in this registry.
    pub(super) name: String,
    /// Without and with a slash at the end, because tokens use both.
    issuers: [String; 2],
    audience: Option<String>,
    pub(super) keys: Keys,
    /// How long a job may get new tokens after it logged in.
    pub(super) session_lifetime: Duration,
    pub(super) sign_in: Option<SignIn>,
    rules: Vec<Rule>,
    settings_fingerprint: String,
    clock: Arc<dyn Clock>,
}

/// A person who signed in.
#[derive(Debug)]
pub(in crate::auth) struct Person {
    /// The issuer and the subject, which stay the same if the person is renamed.
    pub(in crate::auth) identity: String,
    /// The user name.
    pub(in crate::auth) name: String,
    /// The teams that rules name, and whether the person should be a member.
    pub(in crate::auth) teams: BTreeMap<Team, bool>,
    /// How long the access token of the sign-in is valid.
    pub(in crate::auth) token_lifetime: Duration,
}

/// Why a sign-in through a provider failed.
#[derive(Debug, Error)]
pub enum SignInError {
    /// The provider is not configured for sign-in.
    #[error("this provider doesn't support sign-in")]
    None,
    /// The provider can't be reached, or its response is invalid.
    #[error("the request to the provider failed")]
    Provider(#[from] KeysError),
    /// The provider's token is invalid.
    #[error("the provider's token is not accepted")]
    Flaw(#[source] BoxError),
}

impl From<TokenError> for SignInError {
    fn from(error: TokenError) -> Self {
        Self::Flaw(error.into())
    }
}

impl Provider {
    /// Creates a provider from its settings.
    ///
    /// # Errors
    /// Returns the index of the first invalid rule, and what is wrong with it.
    pub fn new(
        settings: &ProviderSettings,
        client: Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, (usize, RuleError)> {
        let rules = settings.rules.iter().enumerate();
        let rules = rules.map(|(at, rule)| Rule::compile(rule).map_err(|error| (at, error)));
        let source = settings.keys.clone().unwrap_or_else(|| KeySource::Discovery(settings.issuer.clone()));
        let issuer = settings.issuer.as_str().trim_end_matches('/');
        let sign_in = settings.sign_in.clone();
        let sign_in = sign_in.map(|sign_in| SignIn::new(sign_in, settings.issuer.clone(), client.clone()));
        Ok(Self {
            name: settings.name.clone(),
            issuers: [issuer.to_owned(), format!("{issuer}/")],
            audience: settings.audience.clone(),
            keys: Keys::new(source, client, Arc::clone(&clock)),
            session_lifetime: settings.visit,
            sign_in,
            clock,
            rules: rules.collect::<Result<_, _>>()?,
            settings_fingerprint: credential_fingerprint(&format!("{settings:?}")),
        })
    }

    /// Whether this provider is the issuer that a token names.
    pub(super) fn is_issuer(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|own| own == issuer)
    }

    /// Whether an identity came from this provider with its current settings.
    pub(super) fn is_provider_of(&self, identity: &FederatedIdentity) -> bool {
        identity.settings_fingerprint == self.settings_fingerprint
    }

    /// The address to send a browser to for a sign-in; the provider sends it back to `redirect`.
    pub(in crate::auth) async fn authorization_url(
        &self,
        attempt: &Attempt,
        redirect: &str,
    ) -> Result<Url, SignInError> {
        let sign_in = self.sign_in.as_ref().ok_or(SignInError::None)?;
        Ok(sign_in.authorization_url(attempt, redirect, &*self.clock).await?)
    }

    /// Redeems the code of a sign-in and verifies who signed in.
    pub(in crate::auth) async fn verify_person(
        &self,
        code: &str,
        attempt: &Attempt,
        redirect: &str,
        now: Timestamp,
    ) -> Result<Person, SignInError> {
        let sign_in = self.sign_in.as_ref().ok_or(SignInError::None)?;
        let response = sign_in.redeem(code, attempt, redirect, &*self.clock).await?;
        let settings = &sign_in.settings;
        let parties = ExpectedParties { issuers: &self.issuers, audience: &settings.client_id };
        let (mut claims, _) = verify(response.id_token.as_bytes(), &self.keys, parties, now).await?;
        if !is_for_attempt(&claims, attempt, &settings.client_id) {
            return Err(SignInError::Flaw("it was not issued for this sign-in".into()));
        }
        sign_in.add_user_info(&mut claims, &response, &*self.clock).await;
        let subject = subject(&claims).ok_or(TokenError::Malformed)?;
        let name = claims.get(&settings.user_claim).and_then(Value::as_str);
        let missing = || SignInError::Flaw(format!("it has no claim {}", settings.user_claim).into());
        let name = name.ok_or_else(missing)?;
        Ok(Person {
            identity: format!("{} {subject}", self.issuers[0]),
            name: name.to_owned(),
            teams: self.evaluate_teams(&claims)?,
            token_lifetime: settings.token_lifetime,
        })
    }

    /// The teams that the rules name, and whether a person with these claims should be a member. Fails if no rule
    /// applies to the person.
    fn evaluate_teams(&self, claims: &Claims) -> Result<BTreeMap<Team, bool>, TokenError> {
        let mut teams = BTreeMap::new();
        let mut any_applies = false;
        for rule in &self.rules {
            let matches = rule.matches(claims);
            // A rule with roles but without teams is for jobs only.
            any_applies |= matches && (rule.may.is_empty() || !rule.teams.is_empty());
            for team in &rule.teams {
                *teams.entry(team.clone()).or_default() |= matches;
            }
        }
        if any_applies { Ok(teams) } else { Err(TokenError::NoRule) }
    }

    /// Verifies the token of a job. Returns its identity, and its expiry in seconds since the Unix epoch.
    pub(super) async fn verify_identity(
        &self,
        token: &[u8],
        now: Timestamp,
    ) -> Result<(FederatedIdentity, i64), TokenError> {
        let audience = self.audience.as_ref().ok_or(TokenError::NoRule)?;
        let parties = ExpectedParties { issuers: &self.issuers, audience };
        let (claims, until) = verify(token, &self.keys, parties, now).await?;
        let subject = subject(&claims).ok_or(TokenError::Malformed)?;
        let rules = self.rules.iter().filter(|rule| !rule.may.is_empty() && rule.matches(&claims));
        let roles: Vec<_> =
            rules.flat_map(|rule| &rule.may).map(|may| (may.scope.clone(), may.role)).collect();
        if roles.is_empty() {
            return Err(TokenError::NoRule);
        }
        let name = format!("{}:{subject}", self.name).into();
        Ok((
            FederatedIdentity { name, roles, settings_fingerprint: self.settings_fingerprint.clone() },
            until,
        ))
    }
}
