//! Signs people in through an OpenID Connect provider. The first sign-in creates an account without a password. Each
//! sign-in may issue an access token or start a session.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use super::access_control::AccessControl;
use super::administration::{self, AccountError, ChangeAuthor, NewAccessToken};
use super::identity::{Attempt, Person, SignInError};
use super::principal::AuthError;
use super::secret;
use crate::clock::Timestamp;
use crate::metadata::{AccountKind, AccountRecord, Role, Scope, Team, TokenRecord, check_name};

/// The audience of the signed cookie that a browser keeps during a sign-in.
const COOKIE_AUDIENCE: &str = "orlop-sign-in";

/// How long a sign-in may take.
pub const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Why a sign-in failed.
#[derive(Debug, Error)]
pub enum PersonSignInError {
    /// No provider of this name lets people sign in.
    #[error("no such provider")]
    NoProvider,
    /// The browser didn't start the sign-in, or took too long.
    #[error("the sign-in was not started in this browser or took more than ten minutes; start again")]
    NotStarted,
    /// Too many sign-ins have failed from this address.
    #[error("too many failed sign-ins from your address; retry later")]
    RateLimited(Duration),
    /// The provider couldn't be reached, or its answer is invalid.
    #[error(transparent)]
    Provider(#[from] SignInError),
    /// The provider's user name is not a valid user name here.
    #[error("{0:?} is not a valid user name; choose another claim with the provider's user_claim")]
    Name(String),
    /// Another user has the name.
    #[error("the name {0} is another user's")]
    Taken(String),
    /// The account is disabled.
    #[error("user {0} is disabled")]
    Disabled(String),
    /// The account or its token couldn't be created.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<io::Error> for PersonSignInError {
    fn from(error: io::Error) -> Self {
        Self::Account(error.into())
    }
}

/// The content of the cookie that a browser keeps during a sign-in.
#[derive(Serialize, Deserialize)]
struct PendingSignIn {
    provider: String,
    attempt: Attempt,
}

/// A request with which a browser comes back from a provider.
#[derive(Debug, Clone, Copy)]
pub struct SignInCallback<'a> {
    /// The name of the provider.
    pub provider: &'a str,
    /// The address that the provider redirected to.
    pub redirect: &'a str,
    /// The `state` parameter.
    pub state: &'a str,
    /// The `code` parameter.
    pub code: &'a str,
    /// The cookie of [`AccessControl::start_sign_in`].
    pub cookie: &'a str,
    /// The address of the client.
    pub from: IpAddr,
}

/// A completed sign-in, for which [`AccessControl::add_sign_in_token`] issues an access token and
/// [`AccessControl::start_session_for`] starts a session.
#[derive(Debug)]
pub struct SignedIn {
    /// The name of the account.
    pub account: String,
    /// The name of the provider.
    pub provider: String,
    /// How long an access token for this sign-in is valid.
    pub token_lifetime: Duration,
    /// Whether the sign-in created the account.
    pub is_new: bool,
}

impl AccessControl {
    /// The names of the providers that people can sign in with.
    pub fn sign_in_providers(&self) -> impl Iterator<Item = &str> {
        self.identities.sign_in_providers()
    }

    /// Starts a sign-in. Returns the provider's address to send the browser to, and the cookie that the browser has to
    /// present when it comes back to `redirect`.
    ///
    /// # Errors
    /// Fails if there is no such provider or it can't be reached.
    pub async fn start_sign_in(
        &self,
        provider: &str,
        redirect: &str,
        now: Timestamp,
    ) -> Result<(Url, String), PersonSignInError> {
        let found = self.identities.provider(provider).ok_or(PersonSignInError::NoProvider)?;
        let attempt = Attempt {
            state: secret::generate_nonce()?,
            nonce: secret::generate_nonce()?,
            verifier: secret::generate_nonce()?,
        };
        let address = found.authorization_url(&attempt, redirect).await?;
        let pending = PendingSignIn { provider: provider.to_owned(), attempt };
        let cookie = self.tokens().sign(COOKIE_AUDIENCE, String::new(), pending, SIGN_IN_TIMEOUT, now)?;
        Ok((address, cookie.text))
    }

    /// Completes a sign-in: redeems the code at the provider, creates the account if necessary and updates its teams.
    ///
    /// # Errors
    /// Fails if the browser didn't start this sign-in, or the provider or the account doesn't allow it.
    pub async fn finish_sign_in(
        &self,
        callback: SignInCallback<'_>,
        now: Timestamp,
    ) -> Result<SignedIn, PersonSignInError> {
        let SignInCallback { provider, redirect, state, code, cookie, from } = callback;
        let pending: Option<PendingSignIn> =
            self.tokens().verify_payload(COOKIE_AUDIENCE, cookie.as_bytes(), now);
        let pending =
            pending.filter(|pending| pending.provider == provider && pending.attempt.state == state);
        let PendingSignIn { attempt, .. } = pending.ok_or(PersonSignInError::NotStarted)?;
        let found = self.identities.provider(provider).ok_or(PersonSignInError::NoProvider)?;
        // A client that started a sign-in could try wrong codes for ever, and get this registry blocked at the
        // provider.
        if let Err(AuthError::RateLimited(wait)) = self.passwords.check_throttle(None, from) {
            return Err(PersonSignInError::RateLimited(wait));
        }
        let person = found.verify_person(code, &attempt, redirect, now).await.inspect_err(|_| {
            self.passwords.record_failure(None, from);
        })?;
        let is_new = self.accounts().current().account_by_identity(&person.identity).is_none();
        let account = self.find_or_create_account(&person, provider, now).await?;
        self.update_teams(&account, &person).await?;
        let provider = provider.to_owned();
        Ok(SignedIn { account, provider, token_lifetime: person.token_lifetime, is_new })
    }

    /// Issues an access token for a sign-in. Returns its record and the token itself, which is shown only once.
    ///
    /// # Errors
    /// Fails if the user has too many tokens or the database can't be written.
    pub async fn add_sign_in_token(
        &self,
        signed_in: &SignedIn,
        now: Timestamp,
    ) -> administration::Result<(TokenRecord, String)> {
        let SignedIn { account, provider, token_lifetime, .. } = signed_in;
        let new = NewAccessToken {
            account: account.clone(),
            name: format!("sign-in by {provider}"),
            role: Role::Admin,
            scope: Scope::All,
            lifetime: Some(*token_lifetime),
        };
        self.add_token(new, ChangeAuthor { name: provider, now }).await
    }

    /// Finds the account of a person, or creates it on the first sign-in, and returns its name. An account that was
    /// created in another way is never used, even if it has the same name.
    async fn find_or_create_account(
        &self,
        person: &Person,
        provider: &str,
        now: Timestamp,
    ) -> Result<String, PersonSignInError> {
        let directory = self.accounts().current();
        if let Some(account) = directory.account_by_identity(&person.identity) {
            let name = account.name.clone();
            return if account.disabled { Err(PersonSignInError::Disabled(name)) } else { Ok(name) };
        }
        let name = person.name.clone();
        check_name(&name).map_err(|_| PersonSignInError::Name(name.clone()))?;
        if self.has_user(&name) {
            return Err(PersonSignInError::Taken(name));
        }
        let record = AccountRecord {
            name: name.clone(),
            kind: AccountKind::Person,
            password: None,
            identity: Some(person.identity.clone()),
            disabled: false,
            created_at: now,
            by: Some(provider.to_owned()),
        };
        match self.add_user(record, Vec::new()).await {
            // The error must not reveal the name of the other user.
            Err(AccountError::Taken(_) | AccountError::LooksAlike { .. }) => {
                Err(PersonSignInError::Taken(name))
            }
            made => Ok(made.map(|()| name)?),
        }
    }

    /// Adds a user to the teams that the provider's rules give them, and removes the user from the other teams that the
    /// rules name.
    async fn update_teams(&self, user: &str, person: &Person) -> Result<(), PersonSignInError> {
        let directory = self.accounts().current();
        let is_in =
            |team: &Team| directory.records().members.iter().any(|(of, name)| of == team && name == user);
        for (team, should_be_in) in &person.teams {
            let updated = match (is_in(team), should_be_in) {
                (false, true) => self.join(team, user).await,
                (true, false) => self.leave(team, user).await,
                (true, true) | (false, false) => Ok(()),
            };
            match updated {
                Err(AccountError::Unknown(missing)) => {
                    tracing::warn!(user, missing, "a rule of an identity provider names an unknown team");
                }
                updated => updated?,
            }
        }
        Ok(())
    }
}
