//! People who sign in by a provider: they have an account from their first time on, without a password, and get an access
//! token each time.

use std::io;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use super::access_control::AccessControl;
use super::administration::{AccountError, By, NewAccessToken};
use super::identity::{Attempt, Person, SignInError};
use super::principal::AuthError;
use super::secret;
use crate::clock::Timestamp;
use crate::metadata::{AccountKind, AccountRecord, Role, Scope, Team, TokenRecord, check_name};

/// Whom the proof of an attempt is for: the browser that began it.
const AUDIENCE: &str = "orlop-sign-in";

/// For how long somebody may be away.
pub const AWAY: std::time::Duration = std::time::Duration::from_secs(10 * 60);

/// Why somebody does not come in.
#[derive(Debug, Error)]
pub enum PersonError {
    /// Nobody of this name provides for people.
    #[error("there is no such provider")]
    NoProvider,
    /// They did not begin here, or were away for too long.
    #[error("the sign-in was not begun by this browser, or more than ten minutes ago")]
    NotBegun,
    /// Too many codes were wrong from there.
    #[error("too many sign-ins have failed from there: wait a little")]
    Wait(std::time::Duration),
    /// The provider's word is worth nothing.
    #[error("{0}")]
    Provider(#[from] SignInError),
    /// The provider calls them something that is no name here.
    #[error("{0:?} is no name here; user_claim of the provider says which claim is")]
    Name(String),
    /// Somebody else has the name.
    #[error("the name {0} is another user's")]
    Taken(String),
    /// They are not to come in any more.
    #[error("{0} is disabled")]
    Disabled(String),
    /// The store, or the system.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<io::Error> for PersonError {
    fn from(error: io::Error) -> Self {
        Self::Account(error.into())
    }
}

/// What somebody's browser keeps while they are away.
#[derive(Serialize, Deserialize)]
struct Away {
    provider: String,
    attempt: Attempt,
}

/// Somebody who signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// The access token's record, with the account's name.
    pub token: TokenRecord,
    /// What is shown this once.
    pub secret: String,
    /// Whether the account was made for that.
    pub is_new: bool,
}

impl AccessControl {
    /// The providers by which people sign in.
    pub fn sign_ins(&self) -> impl Iterator<Item = &str> {
        self.identities().sign_ins()
    }

    /// Where somebody is sent to sign in, and what their browser is to show when it comes back to `redirect`.
    ///
    /// # Errors
    /// [`PersonError`].
    pub async fn begin_sign_in(
        &self,
        provider: &str,
        redirect: &str,
        now: Timestamp,
    ) -> Result<(Url, String), PersonError> {
        let found = self.identities().provider(provider).ok_or(PersonError::NoProvider)?;
        let attempt = Attempt {
            state: secret::random_word()?,
            nonce: secret::random_word()?,
            verifier: secret::random_word()?,
        };
        let address = found.address(&attempt, redirect).await?;
        let away = Away { provider: provider.to_owned(), attempt };
        let kept = self.tokens().signed(AUDIENCE, String::new(), away, AWAY, now)?;
        Ok((address, kept.text))
    }

    /// Lets somebody in whom a provider sends back with a code. `kept` is what their browser shows.
    ///
    /// # Errors
    /// [`PersonError`].
    pub async fn end_sign_in(
        &self,
        (provider, redirect): (&str, &str),
        (state, code): (&str, &str),
        (kept, from): (&str, IpAddr),
        now: Timestamp,
    ) -> Result<SignedIn, PersonError> {
        let away: Option<Away> = self.tokens().told(AUDIENCE, kept.as_bytes(), now);
        let away = away.filter(|away| away.provider == provider && away.attempt.state == state);
        let Away { attempt, .. } = away.ok_or(PersonError::NotBegun)?;
        let found = self.identities().provider(provider).ok_or(PersonError::NoProvider)?;
        // Who has begun could show wrong codes for ever, and make the provider take this registry for a guesser.
        if let Err(AuthError::RateLimited(wait)) = self.passwords().may_guess(None, from) {
            return Err(PersonError::Wait(wait));
        }
        let person = found.person(code, &attempt, redirect, now).await.inspect_err(|_| {
            self.passwords().note_wrong(None, from);
        })?;
        let is_new = self.accounts().now().known_as(&person.identity).is_none();
        let account = self.account_of(&person, provider, now).await?;
        self.move_to_teams(&account, &person).await?;
        let new = NewAccessToken {
            account,
            name: format!("sign-in by {provider}"),
            role: Role::Admin,
            scope: Scope::All,
            lifetime: Some(person.token_lifetime),
        };
        let (token, secret) = self.add_token(new, By { name: provider, now }).await?;
        Ok(SignedIn { token, secret, is_new })
    }

    /// The name of somebody's account, which is made the first time. One that was made otherwise is never theirs, whatever
    /// the provider calls them.
    async fn account_of(
        &self,
        person: &Person,
        provider: &str,
        now: Timestamp,
    ) -> Result<String, PersonError> {
        let directory = self.accounts().now();
        if let Some(account) = directory.known_as(&person.identity) {
            let name = account.name.clone();
            return if account.disabled { Err(PersonError::Disabled(name)) } else { Ok(name) };
        }
        let name = person.name.clone();
        check_name(&name).map_err(|_| PersonError::Name(name.clone()))?;
        if self.knows(&name) {
            return Err(PersonError::Taken(name));
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
            // Who signs in is not told of another user's name.
            Err(AccountError::Taken(_) | AccountError::LooksAlike { .. }) => Err(PersonError::Taken(name)),
            made => Ok(made.map(|()| name)?),
        }
    }

    /// Lets somebody be in those teams that the provider's rules put them into, and of those that its rules name in no
    /// others.
    async fn move_to_teams(&self, user: &str, person: &Person) -> Result<(), PersonError> {
        let directory = self.accounts().now();
        let is_in =
            |team: &Team| directory.records().members.iter().any(|(of, name)| of == team && name == user);
        for (team, permission) in &person.teams {
            let moved = match (is_in(team), permission) {
                (false, true) => self.join(team, user).await,
                (true, false) => self.leave(team, user).await,
                (true, true) | (false, false) => Ok(()),
            };
            match moved {
                Err(AccountError::Unknown(what)) => {
                    tracing::warn!(user, "a rule of a provider names what is not there: {what}");
                }
                moved => moved?,
            }
        }
        Ok(())
    }
}
