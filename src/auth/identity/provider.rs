//! A provider of OpenID Connect, and what its word is good for here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use thiserror::Error;
use url::Url;

use super::federated::FederatedIdentity;
use super::jwks::KeysError;
use super::keys::{KeySource, Keys};
use super::rules::{Rule, RuleError, RuleSettings};
use super::sign_in::{Attempt, SignIn, answers};
use super::signed::{Claims, Flaw, Parties, verify};
use crate::auth::access_control::print;
use crate::clock::{Clock, Timestamp};
use crate::metadata::Team;
use crate::printable::is_unprintable;

/// The most bytes of what a provider calls somebody (OpenID Connect Core 1.0, section 2).
const LONGEST: usize = 255;

/// A provider as settings have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// What it is called here.
    pub name: String,
    /// Who it says it is: the beginning of its address.
    pub issuer: Url,
    /// Whom its tokens of jobs must be for; `None`: it has none.
    pub audience: Option<String>,
    /// Where its keys are; default: where it says.
    pub keys: Option<KeySource>,
    /// For how long a job may go on that logged in with one of them.
    pub visit: Duration,
    /// How people sign in, if they do.
    pub sign_in: Option<SignInSettings>,
    /// What claims give.
    pub rules: Vec<RuleSettings>,
}

/// How people sign in by a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct SignInSettings {
    /// What this registry is called there.
    pub client_id: String,
    /// What it proves that with.
    pub client_secret: Option<String>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The claim that is the name of an account.
    pub user_claim: String,
    /// For how long an access token is good that somebody gets who signs in.
    pub token_lifetime: Duration,
}

/// Without the secret.
impl fmt::Debug for SignInSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client_id, scopes, user_claim, token_lifetime, .. } = self;
        f.debug_tuple("SignIn").field(&(client_id, scopes, user_claim, token_lifetime)).finish()
    }
}

/// A provider.
pub struct Provider {
    name: String,
    /// With and without a slash at its end: both are written.
    issuers: [String; 2],
    audience: Option<String>,
    keys: Keys,
    visit: Duration,
    sign_in: Option<SignIn>,
    rules: Vec<Rule>,
    print: String,
    clock: Arc<dyn Clock>,
}

/// Somebody who signed in.
#[derive(Debug)]
pub(in crate::auth) struct Person {
    /// Who they are, whatever they are called: the issuer and what it calls them for ever.
    pub(in crate::auth) identity: String,
    /// What they are called.
    pub(in crate::auth) name: String,
    /// The teams that rules name, and whether they are in them.
    pub(in crate::auth) teams: BTreeMap<Team, bool>,
    /// For how long their access token is good.
    pub(in crate::auth) token_lifetime: Duration,
}

/// Why a provider's word lets nobody sign in.
#[derive(Debug, Error)]
pub enum SignInError {
    /// Nobody signs in by it.
    #[error("nobody signs in by this provider")]
    None,
    /// It cannot be asked, or answers something else.
    #[error("the provider cannot be asked: {0}")]
    Provider(#[from] KeysError),
    /// What it signed is worth nothing.
    #[error("what the provider signed is worth nothing: {0}")]
    Flaw(String),
}

impl From<Flaw> for SignInError {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw.to_string())
    }
}

impl Provider {
    /// The provider that settings mean.
    ///
    /// # Errors
    /// Which of the rules is wrong, and how.
    pub fn new(
        settings: &ProviderSettings,
        client: Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, (usize, RuleError)> {
        let rules = settings.rules.iter().enumerate();
        let rules = rules.map(|(at, rule)| Rule::of(rule).map_err(|error| (at, error)));
        let source = settings.keys.clone().unwrap_or_else(|| KeySource::Discovery(settings.issuer.clone()));
        let issuer = settings.issuer.as_str().trim_end_matches('/');
        let sign_in = settings.sign_in.clone();
        let sign_in = sign_in.map(|sign_in| SignIn::new(sign_in, settings.issuer.clone(), client.clone()));
        Ok(Self {
            name: settings.name.clone(),
            issuers: [issuer.to_owned(), format!("{issuer}/")],
            audience: settings.audience.clone(),
            keys: Keys::new(source, client, Arc::clone(&clock)),
            visit: settings.visit,
            sign_in,
            clock,
            rules: rules.collect::<Result<_, _>>()?,
            print: print(&format!("{settings:?}")),
        })
    }

    /// What it is called here.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// For how long a job may go on that logged in.
    pub(super) fn visit(&self) -> Duration {
        self.visit
    }

    /// How often its keys were changed; `None` if they may be now.
    pub(super) fn keys_generation(&self) -> Option<u64> {
        self.keys.generation()
    }

    /// Whether a token says that it is by this provider.
    pub(super) fn is(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|own| own == issuer)
    }

    /// Whether somebody came by this provider, and would be who they were then.
    pub(super) fn vouches_for(&self, identity: &FederatedIdentity) -> bool {
        identity.print == self.print
    }

    /// Whether people sign in by it.
    pub(super) fn has_sign_in(&self) -> bool {
        self.sign_in.is_some()
    }

    /// Where somebody is sent to sign in who is to come back to `redirect`.
    pub(in crate::auth) async fn address(
        &self,
        attempt: &Attempt,
        redirect: &str,
    ) -> Result<Url, SignInError> {
        let sign_in = self.sign_in.as_ref().ok_or(SignInError::None)?;
        Ok(sign_in.address(attempt, redirect, &*self.clock).await?)
    }

    /// Who came back with a code.
    pub(in crate::auth) async fn person(
        &self,
        code: &str,
        attempt: &Attempt,
        redirect: &str,
        now: Timestamp,
    ) -> Result<Person, SignInError> {
        let sign_in = self.sign_in.as_ref().ok_or(SignInError::None)?;
        let redeemed = sign_in.redeem(code, attempt, redirect, &*self.clock).await?;
        let settings = &sign_in.settings;
        let parties = Parties { issuers: &self.issuers, audience: &settings.client_id };
        let (mut claims, _) = verify(redeemed.id_token.as_bytes(), &self.keys, parties, now).await?;
        if !answers(&claims, attempt, &settings.client_id) {
            return Err(SignInError::Flaw("it is no answer to this sign-in".into()));
        }
        sign_in.add_told(&mut claims, &redeemed, &*self.clock).await;
        let subject = subject(&claims).ok_or(Flaw::Form)?;
        let name = claims.get(&settings.user_claim).and_then(Value::as_str);
        let name = name.ok_or_else(|| SignInError::Flaw(format!("it claims no {}", settings.user_claim)))?;
        Ok(Person {
            identity: format!("{} {subject}", self.issuers[0]),
            name: name.to_owned(),
            teams: self.teams(&claims)?,
            token_lifetime: settings.token_lifetime,
        })
    }

    /// The teams that the rules name, and whether somebody is in them who claims this. Whom no rule is for does not come in.
    fn teams(&self, claims: &Claims) -> Result<BTreeMap<Team, bool>, Flaw> {
        let mut teams = BTreeMap::new();
        let mut known = false;
        for rule in &self.rules {
            let matches = rule.matches(claims);
            // One that gives something to jobs alone is for them.
            known |= matches && (rule.may.is_empty() || !rule.teams.is_empty());
            for team in &rule.teams {
                *teams.entry(team.clone()).or_default() |= matches;
            }
        }
        if known { Ok(teams) } else { Err(Flaw::NoRule) }
    }

    /// Whom a token is for, and until when it is good, in seconds since the Unix epoch.
    pub(super) async fn identity(
        &self,
        token: &[u8],
        now: Timestamp,
    ) -> Result<(FederatedIdentity, i64), Flaw> {
        let audience = self.audience.as_ref().ok_or(Flaw::NoRule)?;
        let parties = Parties { issuers: &self.issuers, audience };
        let (claims, until) = verify(token, &self.keys, parties, now).await?;
        let subject = subject(&claims).ok_or(Flaw::Form)?;
        let rules = self.rules.iter().filter(|rule| !rule.may.is_empty() && rule.matches(&claims));
        let held: Vec<_> =
            rules.flat_map(|rule| &rule.may).map(|may| (may.scope.clone(), may.role)).collect();
        if held.is_empty() {
            return Err(Flaw::NoRule);
        }
        let name = format!("{}:{subject}", self.name).into();
        Ok((FederatedIdentity { name, held, print: self.print.clone() }, until))
    }
}

/// What a provider calls somebody. What is no subject is not made one: two would be the same.
pub(super) fn subject(claims: &Claims) -> Option<&str> {
    let subject = claims.get("sub")?.as_str()?;
    let is_one = (1..=LONGEST).contains(&subject.len()) && !subject.contains(is_unprintable);
    is_one.then_some(subject)
}
