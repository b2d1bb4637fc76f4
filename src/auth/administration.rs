//! Changes of accounts: what is checked, and what is hashed, before something is recorded.

use std::io;
use std::time::Duration;

use thiserror::Error;

use super::access_control::AccessControl;
use super::credentials::LONGEST;
use super::passwords;
use super::secret::{self, NewToken};
use crate::clock::Timestamp;
use crate::metadata::{
    AccountChange, AccountKind, AccountOutcome, AccountRecord, GrantRecord, Grantee, InvalidUserName,
    MetadataError, Role, Scope, Team, TokenRecord, check_name,
};

/// The account of the first administrator.
pub const ADMINISTRATOR: &str = "admin";

/// The least length of a password, in bytes. One of the settings may be shorter: it is the operator's own.
const SHORTEST: usize = 8;

/// Why accounts stay as they are.
#[derive(Debug, Error)]
pub enum AccountError {
    /// A name that is none.
    #[error("{0:?} {1}")]
    Name(String, InvalidUserName),
    /// There is one already.
    #[error("there is {0} already")]
    Taken(String),
    /// There is one whose name differs by case only.
    #[error("the name {name} differs from that of the user {existing} by case only")]
    LooksAlike {
        /// The name that was asked for.
        name: String,
        /// The user that there is.
        existing: String,
    },
    /// There is none.
    #[error("there is no {0}")]
    Unknown(String),
    /// There is no room for another token.
    #[error("there are too many tokens of this user: revoke some")]
    TooMany,
    /// A password that will not do.
    #[error("a password must have from {SHORTEST} to {LONGEST} bytes")]
    Password,
    /// The first administrator stays.
    #[error("the first administrator cannot be removed; disabling it keeps everybody out of it")]
    Administrator,
    /// Without its last user the registry would be open to everybody.
    #[error(
        "{0} is the last user, without whom everybody could push and pull: disable it, or set auth.mode first"
    )]
    LastUser(String),
    /// The user has no password here.
    #[error("{0} is a user of the password file: change it there")]
    InFile(String),
    /// No randomness, or no hash.
    #[error("no secret could be made: {0}")]
    Secret(String),
    /// The store.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl From<io::Error> for AccountError {
    fn from(error: io::Error) -> Self {
        Self::Secret(error.to_string())
    }
}

pub(super) type Result<T> = std::result::Result<T, AccountError>;

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its name.
    pub name: String,
    /// Whether a program has it.
    pub robot: bool,
    /// Its password; `None`: one is made.
    pub password: Option<String>,
    /// What it may do.
    pub grants: Vec<(Scope, Role)>,
}

/// An access token to be made.
#[derive(Debug, Clone)]
pub struct NewAccessToken {
    /// Whose.
    pub account: String,
    /// What it is called.
    pub name: String,
    /// The most that it is good for.
    pub role: Role,
    /// And where.
    pub scope: Scope,
    /// For how long; `None`: until it is revoked.
    pub lifetime: Option<Duration>,
}

/// Who changes accounts, and when.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Who.
    pub name: &'a str,
    /// When.
    pub now: Timestamp,
}

impl AccessControl {
    /// Makes an account. Gives back its password where that was made.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn add_account(&self, new: NewAccount, by: By<'_>) -> Result<Option<String>> {
        let NewAccount { name, robot, password, grants } = new;
        check_name(&name).map_err(|error| AccountError::Name(name.clone(), error))?;
        if self.knows(&name) {
            return Err(AccountError::Taken(format!("a user {name}")));
        }
        let (made, hash) = self.password_or_made(password).await?;
        let kind = if robot { AccountKind::Robot } else { AccountKind::Person };
        let (created_at, by) = (by.now, Some(by.name.to_owned()));
        let (password, identity) = (Some(hash), None);
        let record =
            AccountRecord { name: name.clone(), kind, password, identity, disabled: false, created_at, by };
        self.add_user(record, grants).await?;
        Ok(made)
    }

    /// Records a new user, unless another's name differs by case only.
    pub(super) async fn add_user(&self, record: AccountRecord, grants: Vec<(Scope, Role)>) -> Result<()> {
        let name = record.name.clone();
        let outcome = match self.look_alike(&name) {
            Some(_) => AccountOutcome::LooksAlike,
            None => self.accounts().change(AccountChange::Add(record, grants)).await?,
        };
        if outcome == AccountOutcome::LooksAlike {
            let existing = self.look_alike(&name).unwrap_or_default();
            tracing::warn!(
                name,
                existing,
                "a new user was refused: its name differs from another's by case only"
            );
            return Err(AccountError::LooksAlike { name, existing });
        }
        Self::checked(outcome, || format!("user {name}"))
    }

    /// Gives an account another password, by which its tokens end; a robot's access tokens stay. Gives it back where it
    /// was made.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn set_password(&self, name: &str, password: Option<String>) -> Result<Option<String>> {
        if self.accounts().now().account(name).is_none() && self.knows(name) {
            return Err(AccountError::InFile(name.to_owned()));
        }
        let (made, hash) = self.password_or_made(password).await?;
        let change = AccountChange::SetPassword(name.to_owned(), hash);
        self.change(change, || format!("user {name}")).await?;
        Ok(made)
    }

    /// Lets nothing open an account any more, or its password and tokens again.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn set_disabled(&self, name: &str, disabled: bool) -> Result<()> {
        let change = AccountChange::SetDisabled(name.to_owned(), disabled);
        self.change(change, || format!("user {name}")).await
    }

    /// Removes an account and all that it has.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn remove_account(&self, name: &str) -> Result<()> {
        let kind = self.accounts().now().account(name).map(|account| account.kind);
        if kind == Some(AccountKind::Bootstrap) {
            return Err(AccountError::Administrator);
        }
        if kind.is_some() && self.is_open_without(name) {
            return Err(AccountError::LastUser(name.to_owned()));
        }
        self.change(AccountChange::Remove(name.to_owned()), || format!("user {name}")).await
    }

    /// Makes an organisation.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn add_organisation(&self, name: &str, by: By<'_>) -> Result<()> {
        check_name(name).map_err(|error| AccountError::Name(name.to_owned(), error))?;
        let change = AccountChange::AddOrganisation(name.to_owned(), by.now, Some(by.name.to_owned()));
        self.change(change, || format!("organisation {name}")).await
    }

    /// Removes an organisation with its teams and what those may do.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn remove_organisation(&self, name: &str) -> Result<()> {
        let change = AccountChange::RemoveOrganisation(name.to_owned());
        self.change(change, || format!("organisation {name}")).await
    }

    /// Makes a team.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn add_team(&self, team: &Team) -> Result<()> {
        let organisation = &team.organisation;
        if !self.accounts().now().records().organisations.contains(organisation) {
            return Err(AccountError::Unknown(format!("organisation {organisation}")));
        }
        self.change(AccountChange::AddTeam(team.clone()), || format!("team {team}")).await
    }

    /// Removes a team and what it may do.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn remove_team(&self, team: &Team) -> Result<()> {
        self.change(AccountChange::RemoveTeam(team.clone()), || format!("team {team}")).await
    }

    /// Puts a user into a team.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn join(&self, team: &Team, user: &str) -> Result<()> {
        self.known(user)?;
        let change = AccountChange::Join(team.clone(), user.to_owned());
        match self.accounts().change(change).await? {
            // Whoever is in is in.
            AccountOutcome::Done
            | AccountOutcome::Taken
            | AccountOutcome::Full
            | AccountOutcome::LooksAlike => Ok(()),
            AccountOutcome::Unknown => Err(AccountError::Unknown(format!("team {team}"))),
        }
    }

    /// Takes a user out of a team.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn leave(&self, team: &Team, user: &str) -> Result<()> {
        let change = AccountChange::Leave(team.clone(), user.to_owned());
        self.change(change, || format!("{user} in the team {team}")).await
    }

    /// Gives somebody a role, in the place of the one that they had there.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn grant(&self, grantee: Grantee, scope: Scope, role: Role, by: By<'_>) -> Result<()> {
        if let Grantee::User(user) = &grantee {
            self.known(user)?;
        }
        let (named, set_at, by) = (grantee.to_string(), by.now, Some(by.name.to_owned()));
        let grant = GrantRecord { grantee, scope, role, set_at, by };
        self.change(AccountChange::Grant(grant), || format!("team {named}")).await
    }

    /// Takes a role from somebody.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn revoke(&self, grantee: Grantee, scope: Scope) -> Result<()> {
        let named = format!("role of {grantee} there");
        self.change(AccountChange::Revoke(grantee, scope), || named).await
    }

    /// Makes an access token. What it is found by, and what is shown this once.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn add_token(&self, new: NewAccessToken, by: By<'_>) -> Result<(TokenRecord, String)> {
        self.known(&new.account)?;
        let NewToken { id, text, hash } = NewToken::random()?;
        let NewAccessToken { account, name, role, scope, lifetime } = new;
        let record = TokenRecord {
            id: id.clone(),
            account,
            name,
            hash,
            role,
            scope,
            bound: None,
            created_at: by.now,
            expires_at: lifetime.map(|lifetime| by.now.plus(lifetime)),
            used_at: None,
        };
        self.change(AccountChange::AddToken(record.clone()), || format!("token {id}")).await?;
        Ok((record, text))
    }

    /// Ends an access token.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn revoke_token(&self, id: &str) -> Result<()> {
        self.change(AccountChange::RemoveToken(id.to_owned()), || format!("token {id}")).await
    }

    /// Sees to it that there is a first administrator, with this password if one is told. Gives back the one that was
    /// made where none is.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn first_administrator(&self, told: Option<String>, now: Timestamp) -> Result<Option<String>> {
        let current = self.accounts().now();
        let account = current.account(ADMINISTRATOR);
        if let (Some(account), Some(told)) = (account, &told)
            && account.password.as_deref().is_some_and(|hash| passwords::fits(told.as_bytes(), hash))
        {
            return Ok(None);
        }
        if told.as_ref().is_some_and(|told| told.is_empty() || told.len() > LONGEST) {
            return Err(AccountError::Password);
        }
        match (account, told) {
            (Some(_), None) => Ok(None),
            (Some(_), Some(told)) => {
                let hash = self.hashed(told).await?;
                let change = AccountChange::SetPassword(ADMINISTRATOR.into(), hash);
                self.change(change, String::new).await.map(|()| None)
            }
            (None, told) => {
                let made = if told.is_none() { Some(secret::password()?) } else { None };
                let password = told.or_else(|| made.clone()).unwrap_or_default();
                let record = AccountRecord {
                    name: ADMINISTRATOR.into(),
                    kind: AccountKind::Bootstrap,
                    password: Some(self.hashed(password).await?),
                    identity: None,
                    disabled: false,
                    created_at: now,
                    by: None,
                };
                self.change(AccountChange::Add(record, Vec::new()), String::new).await?;
                Ok(made)
            }
        }
    }

    /// The hash of a password, and the password itself where it had to be made.
    async fn password_or_made(&self, password: Option<String>) -> Result<(Option<String>, String)> {
        match password {
            Some(password) if !(SHORTEST..=LONGEST).contains(&password.len()) => Err(AccountError::Password),
            Some(password) => Ok((None, self.hashed(password).await?)),
            None => {
                let made = secret::password()?;
                Ok((Some(made.clone()), self.hashed(made).await?))
            }
        }
    }

    async fn hashed(&self, password: String) -> Result<String> {
        self.passwords().hash(password).await.map_err(AccountError::Secret)
    }

    fn known(&self, user: &str) -> Result<()> {
        if self.knows(user) { Ok(()) } else { Err(AccountError::Unknown(format!("user {user}"))) }
    }

    pub(super) async fn change(&self, change: AccountChange, what: impl FnOnce() -> String) -> Result<()> {
        let outcome = self.accounts().change(change).await?;
        Self::checked(outcome, what)
    }

    fn checked(outcome: AccountOutcome, what: impl FnOnce() -> String) -> Result<()> {
        match outcome {
            AccountOutcome::Done => Ok(()),
            AccountOutcome::Taken | AccountOutcome::LooksAlike => {
                Err(AccountError::Taken(format!("a {}", what())))
            }
            AccountOutcome::Unknown => Err(AccountError::Unknown(what())),
            AccountOutcome::Full => Err(AccountError::TooMany),
        }
    }
}
