//! The access_control: who comes in, as whom, and what they may do.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::accounts::Accounts;
use super::bearer::{Bearer, TokenSubject, User};
use super::credentials::{Credentials, too_long};
use super::identity::{Authority, Identities};
use super::lookalikes::{LookAlikes, find_look_alikes, look_alike};
use super::low_priority_pool::LowPriorityPool;
use super::modes::Modes;
use super::passwords::{Kept, Passwords, Stored};
use super::principal::{AuthError, Principal};
use super::rights::Rights;
use super::scope::{Action, Grant, Permission};
use super::secret;
use super::tokens::{Token, Tokens};
use super::watched::WatchedUsers;
use crate::clock::Clock;
use crate::memory::MemoryBudget;
use crate::metadata::{Role, TokenRecord};

/// The most scopes that are looked at in a request for a token: what it carries has to fit into a header.
const MOST_SCOPES: usize = 32;

/// What a access_control can be told.
#[derive(Debug, Clone, Default)]
pub struct AccessSettings {
    /// A file of users, which is read again whenever it changes.
    pub htpasswd: Option<PathBuf>,
    /// What its users may do to every repository, besides what they are granted.
    pub htpasswd_role: Option<Role>,
    /// What everybody may do.
    pub modes: Modes,
    /// Whose threads compare passwords, which takes long; default: those that ask.
    pub aside: Option<Handle>,
}

/// The access_control of a registry.
pub struct AccessControl {
    accounts: Arc<Accounts>,
    file: Option<WatchedUsers>,
    settings: AccessSettings,
    passwords: Passwords,
    tokens: Tokens,
    identities: Identities,
    clock: Arc<dyn Clock>,
}

impl AccessControl {
    /// A access_control to those who have `accounts`, and to the users of the settings' file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(
        settings: AccessSettings,
        accounts: Arc<Accounts>,
        tokens: Tokens,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let file = settings.htpasswd.as_ref().map(|path| WatchedUsers::open(path, Arc::clone(&clock)));
        let aside = LowPriorityPool::of(settings.aside.clone());
        let (file, passwords) = (file.transpose()?, Passwords::new(aside, Arc::clone(&clock)));
        let identities = Identities::default();
        Ok(Self { accounts, file, settings, passwords, tokens, identities, clock })
    }

    /// The same, also to those who come by others' word.
    #[must_use]
    pub fn with_identity_providers(self, identities: Identities) -> Self {
        Self { identities, ..self }
    }

    /// The same with passwords compared within a budget of memory.
    #[must_use]
    pub fn within(self, memory: MemoryBudget) -> Self {
        Self { passwords: self.passwords.within(memory), ..self }
    }

    fn trusts_external_identities(&self) -> bool {
        self.identities.has_identity_providers() || self.authority().is_some()
    }

    /// Those whose word counts here.
    pub(super) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Another authority that clients get their tokens from.
    pub fn authority(&self) -> Option<&Authority> {
        self.identities.authority.as_ref()
    }

    /// What compares and hashes passwords.
    pub(super) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// The accounts.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// The tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Whether everybody may push and pull everything.
    pub fn is_open(&self) -> bool {
        self.allows(&Principal::Anonymous, Permission::Registry)
    }

    /// Whether everybody could push and pull if it were not for this user.
    pub(super) fn is_open_without(&self, name: &str) -> bool {
        let others = self.file.is_some() || self.accounts.now().has_users_besides(name);
        !others && self.settings.modes.everywhere(false) > self.settings.modes.everywhere(true)
    }

    /// Whether there is a user of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.accounts.now().account(name).is_some() || self.in_file(name)
    }

    /// A user whose name differs from this one by case only.
    pub(super) fn look_alike(&self, name: &str) -> Option<String> {
        self.user_names().find(|known| look_alike(known, name))
    }

    /// All pairs of users whose names differ by case only.
    pub fn look_alikes(&self) -> Vec<LookAlikes> {
        find_look_alikes(self.user_names())
    }

    fn user_names(&self) -> impl Iterator<Item = String> + use<> {
        let of_file = self.file.as_ref().map(WatchedUsers::names).unwrap_or_default();
        let accounts: Vec<String> = self.accounts.now().names().map(str::to_owned).collect();
        accounts.into_iter().chain(of_file)
    }

    /// Whether whoever shows nothing is sent for a token: where some of it is for everybody, Docker shows its
    /// password for a token alone. Elsewhere the password itself does, and needs no address to be known.
    pub fn has_tokens(&self) -> bool {
        // Who has a refresh token shows no password any more.
        // And what a provider signs is good for minutes, after which a token of ours goes on.
        self.trusts_external_identities()
            || self.with_rights(|rights| rights.directory.renews || rights.is_partly_public())
    }

    /// Lets somebody in who comes from an address with the value of an `Authorization` header (RFC 7617, RFC 6750).
    /// What they may do is for [`Self::decide`].
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn admit(&self, credentials: Option<&[u8]>, from: IpAddr) -> Result<Principal, AuthError> {
        match credentials.map_or(Credentials::Nobody, Credentials::of) {
            Credentials::Nobody => Ok(Principal::Anonymous),
            Credentials::Password(name, password) => self.user_with(name, password, from).await,
            Credentials::Token(token) if secret::id(token).is_some() => {
                self.with_access_token(token, None, from)
            }
            Credentials::Token(token) => match self.bearer(token) {
                Ok(principal) => Ok(principal),
                Err(denial) => match self.identities.who(token, from, self.clock.now()).await {
                    Ok(Some(principal)) => Ok(principal),
                    Ok(None) | Err(_) => self.unless_open(denial),
                },
            },
            Credentials::Nonsense => self.unless_open(AuthError::Unauthenticated),
        }
    }

    /// Clients show everybody the password of whoever used the address before: that must not keep them out of what
    /// is open to all.
    fn unless_open(&self, denial: AuthError) -> Result<Principal, AuthError> {
        if self.is_open() { Ok(Principal::Anonymous) } else { Err(denial) }
    }

    /// Decides whether somebody who was let in may do what they want.
    ///
    /// # Errors
    /// [`AuthError::Unauthenticated`] where other credentials could do, [`AuthError::Forbidden`] where it is known who they are.
    pub fn decide(&self, principal: &Principal, permission: Permission<'_>) -> Result<(), AuthError> {
        if self.allows(principal, permission) {
            return Ok(());
        }
        let others = match (principal, permission) {
            // What may not be read is not there: then it is an ordinary upload.
            (_, Permission::Mount(to, from)) => {
                self.decide(principal, Permission::Repository(to, Action::Push))?;
                if !self.could(principal, Permission::Repository(from, Action::Pull)) {
                    return Ok(());
                }
                true
            }
            (Principal::Anonymous, _) => true,
            (Principal::Bearer(bearer), _) => match bearer.of {
                TokenSubject::Anonymous | TokenSubject::Delegated(_) => true,
                TokenSubject::User(_) | TokenSubject::Federated(_) => self.could(principal, permission),
            },
            (
                Principal::LocalAdmin | Principal::User(_) | Principal::Token(_) | Principal::Federated(_),
                _,
            ) => false,
        };
        Err(if others { AuthError::Unauthenticated } else { AuthError::Forbidden })
    }

    /// Whether somebody may do something, be it with another token of ours.
    pub fn could(&self, principal: &Principal, permission: Permission<'_>) -> bool {
        let Principal::Bearer(bearer) = principal else { return self.allows(principal, permission) };
        match &bearer.of {
            // What another authority would say is for it.
            TokenSubject::Delegated(_) => self.allows(principal, permission),
            // It came of an access token, and none is good for more than that.
            TokenSubject::User(User { by: Some(id), .. }) => {
                self.access_token(id).is_some_and(|token| self.allows(&Principal::Token(token), permission))
            }
            holder => self.with_rights(|rights| rights.allow_holder(holder, permission)),
        }
    }

    /// Whether somebody may do something.
    pub fn allows(&self, principal: &Principal, permission: Permission<'_>) -> bool {
        self.with_rights(|rights| rights.allow(principal, permission))
    }

    /// Looks at what there is to decide by now.
    pub(super) fn with_rights<T>(&self, ask: impl FnOnce(&Rights<'_>) -> T) -> T {
        ask(&Rights {
            directory: self.accounts.now(),
            modes: &self.settings.modes,
            of_file: self.file.as_ref().map(|_| self.settings.htpasswd_role),
            trusts_external_identities: self.trusts_external_identities(),
            in_file: &|name| self.in_file(name),
        })
    }

    /// Whether somebody is a user by the file. An account of the same name takes its place.
    fn in_file(&self, name: &str) -> bool {
        let in_file = |file: &WatchedUsers| file.current().hash(name).is_some();
        self.file.as_ref().is_some_and(in_file) && self.accounts.now().account(name).is_none()
    }

    /// A token for as much of the `scopes` as somebody may do.
    ///
    /// # Errors
    /// [`AuthError::Unauthenticated`] to somebody who shows such a token, or who is a user no more.
    pub fn token<'a>(
        &self,
        principal: &Principal,
        scopes: impl Iterator<Item = &'a str>,
    ) -> Result<Token, AuthError> {
        let of = match principal {
            Principal::LocalAdmin | Principal::Anonymous => TokenSubject::Anonymous,
            Principal::User(user) => TokenSubject::User(user.as_ref().clone()),
            Principal::Token(token) => TokenSubject::User(
                self.named(&token.account, Some(&token.id)).ok_or(AuthError::Unauthenticated)?,
            ),
            Principal::Federated(identity) => TokenSubject::Federated(identity.as_ref().clone()),
            Principal::Bearer(_) => return Err(AuthError::Unauthenticated),
        };
        let asked = scopes.take(MOST_SCOPES).filter_map(Grant::asked);
        let grants = asked.filter_map(|grant| grant.within(|permission| self.allows(principal, permission)));
        let bearer = Bearer { of, grants: grants.collect() };
        self.tokens.issue(bearer, self.clock.now()).map_err(|error| {
            tracing::error!(%error, "a token could not be issued");
            AuthError::Unauthenticated
        })
    }

    /// Somebody with a token of ours, whose user has still what it was asked for with.
    fn bearer(&self, token: &[u8]) -> Result<Principal, AuthError> {
        let bearer = self.tokens.verify(token, self.clock.now()).ok_or(AuthError::Unauthenticated)?;
        let principal = Principal::Bearer(bearer);
        if self.is_still_valid(&principal) { Ok(principal) } else { Err(AuthError::Unauthenticated) }
    }

    /// Whether somebody who was let in would be still: a request's body takes its time, and the password that its head
    /// came with may be another by its end.
    pub fn is_still_valid(&self, principal: &Principal) -> bool {
        let holds = |user: &User| self.named(&user.name, user.by.as_deref()).as_ref() == Some(user);
        match principal {
            Principal::LocalAdmin | Principal::Anonymous => true,
            Principal::User(user) => holds(user),
            Principal::Token(token) => self.access_token(&token.id).is_some(),
            Principal::Federated(identity) => self.identities.vouch_for(identity),
            Principal::Bearer(bearer) => match &bearer.of {
                TokenSubject::Anonymous | TokenSubject::Delegated(_) => true,
                TokenSubject::User(user) => holds(user),
                TokenSubject::Federated(identity) => self.identities.vouch_for(identity),
            },
        }
    }

    /// A user as a token names one, who came by a password, or `by` an access token.
    pub(super) fn named(&self, name: &str, by: Option<&str>) -> Option<User> {
        let shown = match by {
            None => self.kept(name)?.hash().to_owned(),
            Some(id) => hex::encode(self.access_token(id)?.hash),
        };
        Some(User { name: name.into(), print: print(&shown), by: by.map(str::to_owned) })
    }

    /// The hash of a user's password.
    fn kept(&self, name: &str) -> Option<Kept> {
        match self.accounts.now().account(name) {
            Some(account) if account.disabled => None,
            Some(account) => account.password.clone().map(Kept::OfAccount),
            None => {
                let users = self.file.as_ref()?.current();
                users.hash(name).map(|hash| Kept::OfFile(hash.to_owned()))
            }
        }
    }

    /// An access token that is good still, and whose user is.
    pub(super) fn access_token(&self, id: &str) -> Option<Arc<TokenRecord>> {
        let now = self.accounts.now();
        let token = now.token(id, self.clock.now())?;
        let is_user = match now.account(&token.account) {
            Some(account) => !account.disabled,
            None => self.in_file(&token.account),
        };
        is_user.then(|| Arc::clone(token))
    }

    /// Lets somebody in by a password or an access token that did not come in the header.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn log_in(&self, name: &str, password: &[u8], from: IpAddr) -> Result<Principal, AuthError> {
        if name.is_empty() || too_long(password) {
            return Err(AuthError::Unauthenticated);
        }
        self.user_with(name.to_owned(), password.to_vec(), from).await
    }

    /// Somebody showed what is nobody's.
    pub(super) fn guessed(&self, from: IpAddr) -> AuthError {
        match self.passwords.may_guess(None, from) {
            Ok(()) => {
                self.passwords.note_wrong(None, from);
                AuthError::Unauthenticated
            }
            Err(denial) => denial,
        }
    }

    async fn user_with(&self, name: String, password: Vec<u8>, from: IpAddr) -> Result<Principal, AuthError> {
        if secret::id(&password).is_some() {
            return self.with_access_token(&password, Some(&name), from);
        }
        match self.identities.who(&password, from, self.clock.now()).await {
            Ok(None) => {}
            Ok(Some(principal)) => return Ok(principal),
            Err(denial) => return self.unless_open(denial),
        }
        if self.is_open() && !self.knows(&name) {
            return Ok(Principal::Anonymous);
        }
        let any = self.file.as_ref().and_then(|file| file.current().any_hash().map(str::to_owned));
        let kept = self.kept(&name);
        let print = kept.as_ref().map(|kept| print(kept.hash())).unwrap_or_default();
        let stored = Stored { of_user: kept, of_file: any };
        self.passwords.check(&name, password, stored, from).await?;
        Ok(Principal::User(Arc::new(User { name: name.into(), print, by: None })))
    }

    /// Somebody with an access token, alone or in the place of the password of its user. One that clients renew
    /// theirs with is good for nothing else.
    fn with_access_token(
        &self,
        shown: &[u8],
        name: Option<&str>,
        from: IpAddr,
    ) -> Result<Principal, AuthError> {
        let found = secret::id(shown).and_then(|id| self.access_token(id)).filter(|token| {
            secret::same(&token.hash, &secret::hash(shown))
                && token.bound.is_none()
                && name.is_none_or(|name| name == token.account)
        });
        let Some(token) = found else {
            return Err(self.guessed(from));
        };
        self.accounts.note_use(&token.id, token.used_at, self.clock.now());
        Ok(Principal::Token(token))
    }
}

/// What stands for a secret, of which nothing can be read from it.
pub(super) fn print(shown: &str) -> String {
    let mut print = hex::encode(Sha256::digest(shown));
    print.truncate(32);
    print
}
