//! Changes accounts, teams, grants and access tokens: validates the input and hashes secrets before it is recorded.

use std::io;
use std::time::Duration;

use thiserror::Error;

use super::access_control::AccessControl;
use super::credentials::MAX_PASSWORD_LEN;
use super::passwords;
use super::secret::{self, NewToken};
use crate::clock::Timestamp;
use crate::errors::BoxError;
use crate::metadata::{
    AccountChange, AccountKind, AccountOutcome, AccountRecord, GrantRecord, Grantee, InvalidUserName,
    MetadataError, Role, Scope, Team, TokenRecord, check_name,
};

/// The name of the first administrator's account.
pub const ADMINISTRATOR: &str = "admin";

/// The minimum length of a password, in bytes. A password in the settings may be shorter: it is the operator's choice.
const MIN_PASSWORD_LEN: usize = 8;

/// Why a change of accounts failed.
#[derive(Debug, Error)]
pub enum AccountError {
    /// The name is invalid.
    #[error("{0:?} {1}")]
    Name(String, InvalidUserName),
    /// The named object already exists.
    #[error("{0} already exists")]
    Taken(String),
    /// A user exists whose name differs only in case.
    #[error("the name {name} differs from that of user {existing} only in case")]
    LooksAlike {
        /// The requested name.
        name: String,
        /// The existing user.
        existing: String,
    },
    /// The named object doesn't exist.
    #[error("{0} not found")]
    Unknown(String),
    /// The user has the maximum number of access tokens.
    #[error("the user has too many access tokens; revoke some first")]
    TooMany,
    /// The password is too short or too long.
    #[error("a password must have {MIN_PASSWORD_LEN} to {MAX_PASSWORD_LEN} bytes")]
    Password,
    /// The first administrator can't be removed.
    #[error("the first administrator can't be removed; disable the account instead")]
    Administrator,
    /// Removing the last user would open the registry to everybody.
    #[error(
        "{0} is the last user, and without users everybody can push and pull; disable the user instead, \
         or set auth.mode first"
    )]
    LastUser(String),
    /// The user's password is in the htpasswd file.
    #[error("{0} is a user of the htpasswd file; change the password there")]
    InFile(String),
    /// No secret could be generated or hashed.
    #[error("failed to create a secret")]
    Secret(#[source] BoxError),
    /// The database failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl From<io::Error> for AccountError {
    fn from(error: io::Error) -> Self {
        Self::Secret(error.into())
    }
}

pub(super) type Result<T> = std::result::Result<T, AccountError>;

/// An account to create.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// The user name.
    pub name: String,
    /// Whether the account is for a program.
    pub robot: bool,
    /// The password; `None` generates one.
    pub password: Option<String>,
    /// The initial grants.
    pub grants: Vec<(Scope, Role)>,
}

/// An access token to create.
#[derive(Debug, Clone)]
pub struct NewAccessToken {
    /// The user that the token belongs to.
    pub account: String,
    /// A name by which the user recognises the token.
    pub name: String,
    /// The highest role that the token allows.
    pub role: Role,
    /// The scope that the token is limited to.
    pub scope: Scope,
    /// How long the token is valid; `None` means until it is revoked.
    pub lifetime: Option<Duration>,
}

/// The author and the time of a change of accounts.
#[derive(Debug, Clone, Copy)]
pub struct ChangeAuthor<'a> {
    /// The name of the author.
    pub name: &'a str,
    /// The time of the change.
    pub now: Timestamp,
}

impl AccessControl {
    /// Creates an account. Returns the password if it was generated.
    ///
    /// # Errors
    /// Fails if the input is invalid, the name is taken or the database can't be written.
    pub async fn add_account(&self, new: NewAccount, by: ChangeAuthor<'_>) -> Result<Option<String>> {
        let NewAccount { name, robot, password, grants } = new;
        check_name(&name).map_err(|error| AccountError::Name(name.clone(), error))?;
        if self.has_user(&name) {
            return Err(AccountError::Taken(format!("user {name}")));
        }
        let (generated, hash) = self.hash_or_generate(password).await?;
        let record = AccountRecord {
            name: name.clone(),
            kind: if robot { AccountKind::Robot } else { AccountKind::Person },
            password: Some(hash),
            identity: None,
            disabled: false,
            created_at: by.now,
            by: Some(by.name.to_owned()),
        };
        self.add_user(record, grants).await?;
        Ok(generated)
    }

    /// Records a new user, unless another user's name differs only in case.
    pub(super) async fn add_user(&self, record: AccountRecord, grants: Vec<(Scope, Role)>) -> Result<()> {
        let name = record.name.clone();
        let outcome = match self.find_look_alike(&name) {
            Some(_) => AccountOutcome::LooksAlike,
            None => self.accounts().change(AccountChange::Add(record, grants)).await?,
        };
        if outcome == AccountOutcome::LooksAlike {
            let existing = self.find_look_alike(&name).unwrap_or_default();
            tracing::warn!(
                name,
                existing,
                "rejected a new user whose name differs from another only in case"
            );
            return Err(AccountError::LooksAlike { name, existing });
        }
        Self::check_outcome(outcome, || format!("user {name}"))
    }

    /// Sets the password of an account and revokes its tokens; the access tokens of robots stay valid. Returns the
    /// password if it was generated.
    ///
    /// # Errors
    /// Fails if the account doesn't exist, the password is invalid or the database can't be written.
    pub async fn set_password(&self, name: &str, password: Option<String>) -> Result<Option<String>> {
        if self.accounts().current().account(name).is_none() && self.has_user(name) {
            return Err(AccountError::InFile(name.to_owned()));
        }
        let (generated, hash) = self.hash_or_generate(password).await?;
        let change = AccountChange::SetPassword(name.to_owned(), hash);
        self.change(change, || format!("user {name}")).await?;
        Ok(generated)
    }

    /// Disables an account, so that neither its password nor its tokens are accepted, or enables it again.
    ///
    /// # Errors
    /// Fails if the account doesn't exist or the database can't be written.
    pub async fn set_disabled(&self, name: &str, disabled: bool) -> Result<()> {
        let change = AccountChange::SetDisabled(name.to_owned(), disabled);
        self.change(change, || format!("user {name}")).await
    }

    /// Removes an account with its grants, memberships and tokens.
    ///
    /// # Errors
    /// Fails if the account doesn't exist, must not be removed, or the database can't be written.
    pub async fn remove_account(&self, name: &str) -> Result<()> {
        let kind = self.accounts().current().account(name).map(|account| account.kind);
        if kind == Some(AccountKind::Bootstrap) {
            return Err(AccountError::Administrator);
        }
        if kind.is_some() && self.is_open_without(name) {
            return Err(AccountError::LastUser(name.to_owned()));
        }
        self.change(AccountChange::Remove(name.to_owned()), || format!("user {name}")).await
    }

    /// Creates an organisation.
    ///
    /// # Errors
    /// Fails if the name is invalid or taken, or the database can't be written.
    pub async fn add_organisation(&self, name: &str, by: ChangeAuthor<'_>) -> Result<()> {
        check_name(name).map_err(|error| AccountError::Name(name.to_owned(), error))?;
        let change = AccountChange::AddOrganisation(name.to_owned(), by.now, Some(by.name.to_owned()));
        self.change(change, || format!("organisation {name}")).await
    }

    /// Removes an organisation with its teams and their grants.
    ///
    /// # Errors
    /// Fails if the organisation doesn't exist or the database can't be written.
    pub async fn remove_organisation(&self, name: &str) -> Result<()> {
        let change = AccountChange::RemoveOrganisation(name.to_owned());
        self.change(change, || format!("organisation {name}")).await
    }

    /// Creates a team.
    ///
    /// # Errors
    /// Fails if the organisation doesn't exist, the name is taken or the database can't be written.
    pub async fn add_team(&self, team: &Team) -> Result<()> {
        let organisation = &team.organisation;
        if !self.accounts().current().records().organisations.contains(organisation) {
            return Err(AccountError::Unknown(format!("organisation {organisation}")));
        }
        self.change(AccountChange::AddTeam(team.clone()), || format!("team {team}")).await
    }

    /// Removes a team with its grants.
    ///
    /// # Errors
    /// Fails if the team doesn't exist or the database can't be written.
    pub async fn remove_team(&self, team: &Team) -> Result<()> {
        self.change(AccountChange::RemoveTeam(team.clone()), || format!("team {team}")).await
    }

    /// Adds a user to a team. Does nothing if the user is already a member.
    ///
    /// # Errors
    /// Fails if the user or the team doesn't exist, or the database can't be written.
    pub async fn join(&self, team: &Team, user: &str) -> Result<()> {
        self.require_user(user)?;
        let change = AccountChange::Join(team.clone(), user.to_owned());
        match self.accounts().change(change).await? {
            AccountOutcome::Done
            | AccountOutcome::Taken
            | AccountOutcome::Full
            | AccountOutcome::LooksAlike => Ok(()),
            AccountOutcome::Unknown => Err(AccountError::Unknown(format!("team {team}"))),
        }
    }

    /// Removes a user from a team.
    ///
    /// # Errors
    /// Fails if the user is not a member or the database can't be written.
    pub async fn leave(&self, team: &Team, user: &str) -> Result<()> {
        let change = AccountChange::Leave(team.clone(), user.to_owned());
        self.change(change, || format!("member {user} of team {team}")).await
    }

    /// Grants a role. Replaces the role that the grantee had in this scope.
    ///
    /// # Errors
    /// Fails if the grantee doesn't exist or the database can't be written.
    pub async fn grant(
        &self,
        grantee: Grantee,
        scope: Scope,
        role: Role,
        by: ChangeAuthor<'_>,
    ) -> Result<()> {
        if let Grantee::User(user) = &grantee {
            self.require_user(user)?;
        }
        let team = grantee.to_string();
        let grant = GrantRecord { grantee, scope, role, set_at: by.now, by: Some(by.name.to_owned()) };
        self.change(AccountChange::Grant(grant), || format!("team {team}")).await
    }

    /// Revokes the role of a grantee in a scope.
    ///
    /// # Errors
    /// Fails if the grantee has no role there or the database can't be written.
    pub async fn revoke(&self, grantee: Grantee, scope: Scope) -> Result<()> {
        let role = format!("role of {grantee} there");
        self.change(AccountChange::Revoke(grantee, scope), || role).await
    }

    /// Creates an access token. Returns its record and the token itself, which is shown only once.
    ///
    /// # Errors
    /// Fails if the user doesn't exist or has too many tokens, or the database can't be written.
    pub async fn add_token(
        &self,
        new: NewAccessToken,
        by: ChangeAuthor<'_>,
    ) -> Result<(TokenRecord, String)> {
        self.require_user(&new.account)?;
        let NewToken { id, text, hash } = NewToken::generate()?;
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

    /// Revokes an access token.
    ///
    /// # Errors
    /// Fails if the token doesn't exist or the database can't be written.
    pub async fn revoke_token(&self, id: &str) -> Result<()> {
        self.change(AccountChange::RemoveToken(id.to_owned()), || format!("token {id}")).await
    }

    /// Ensures that the first administrator exists and has the configured password, if there is one. If the account has
    /// to be created and no password is configured, generates one and returns it.
    ///
    /// # Errors
    /// Fails if the configured password is empty or too long, or the database can't be written.
    pub async fn ensure_first_administrator(
        &self,
        configured: Option<String>,
        now: Timestamp,
    ) -> Result<Option<String>> {
        let current = self.accounts().current();
        let account = current.account(ADMINISTRATOR);
        if let (Some(account), Some(configured)) = (account, &configured)
            && let Some(hash) = account.password.as_deref()
            && passwords::matches_hash(configured.as_bytes(), hash)
        {
            return Ok(None);
        }
        if configured
            .as_ref()
            .is_some_and(|password| password.is_empty() || password.len() > MAX_PASSWORD_LEN)
        {
            return Err(AccountError::Password);
        }
        match (account, configured) {
            (Some(_), None) => Ok(None),
            (Some(_), Some(configured)) => {
                let hash = self.hash_password(configured).await?;
                let change = AccountChange::SetPassword(ADMINISTRATOR.into(), hash);
                self.change(change, String::new).await.map(|()| None)
            }
            (None, configured) => {
                let generated = if configured.is_none() { Some(secret::generate_password()?) } else { None };
                let password = configured.or_else(|| generated.clone()).unwrap_or_default();
                let record = AccountRecord {
                    name: ADMINISTRATOR.into(),
                    kind: AccountKind::Bootstrap,
                    password: Some(self.hash_password(password).await?),
                    identity: None,
                    disabled: false,
                    created_at: now,
                    by: None,
                };
                self.change(AccountChange::Add(record, Vec::new()), String::new).await?;
                Ok(generated)
            }
        }
    }

    /// Hashes a password, or generates and hashes one if `None`. Returns the generated password, and the hash.
    async fn hash_or_generate(&self, password: Option<String>) -> Result<(Option<String>, String)> {
        match password {
            Some(password) if !(MIN_PASSWORD_LEN..=MAX_PASSWORD_LEN).contains(&password.len()) => {
                Err(AccountError::Password)
            }
            Some(password) => Ok((None, self.hash_password(password).await?)),
            None => {
                let generated = secret::generate_password()?;
                Ok((Some(generated.clone()), self.hash_password(generated).await?))
            }
        }
    }

    async fn hash_password(&self, password: String) -> Result<String> {
        self.passwords.hash(password).await.map_err(AccountError::Secret)
    }

    fn require_user(&self, user: &str) -> Result<()> {
        if self.has_user(user) { Ok(()) } else { Err(AccountError::Unknown(format!("user {user}"))) }
    }

    /// Makes a change. `object` names the object of the change for errors.
    pub(super) async fn change(&self, change: AccountChange, object: impl FnOnce() -> String) -> Result<()> {
        let outcome = self.accounts().change(change).await?;
        Self::check_outcome(outcome, object)
    }

    fn check_outcome(outcome: AccountOutcome, object: impl FnOnce() -> String) -> Result<()> {
        match outcome {
            AccountOutcome::Done => Ok(()),
            AccountOutcome::Taken | AccountOutcome::LooksAlike => Err(AccountError::Taken(object())),
            AccountOutcome::Unknown => Err(AccountError::Unknown(object())),
            AccountOutcome::Full => Err(AccountError::TooMany),
        }
    }
}
