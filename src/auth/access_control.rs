//! Authenticates requests, issues tokens and decides whether a principal has a permission.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::accounts::Accounts;
use super::credentials::{Credentials, is_too_long};
use super::htpasswd::HtpasswdFile;
use super::identity::{Authority, Identities};
use super::lookalikes::{LookAlikes, find_look_alikes, is_look_alike};
use super::modes::AnonymousModes;
use super::passwords::{PasswordHashes, Passwords, StoredHash};
use super::principal::{AuthError, Bearer, Principal, TokenSubject, User};
use super::rights::Rights;
use super::scope::{Action, Grant, Permission};
use super::secret::{self, credential_fingerprint};
use super::tokens::{Token, Tokens};
use crate::clock::Clock;
use crate::memory::MemoryBudget;
use crate::metadata::{Role, TokenRecord, Visible};
use crate::scheduling::LowPriorityPool;

/// The maximum number of scopes in a token request; further ones are ignored, because a token has to fit into a header.
const MAX_SCOPES: usize = 32;

/// How long a browser session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSettings {
    /// How long after its last use.
    pub idle_timeout: Duration,
    /// How long after its start.
    pub lifetime: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { idle_timeout: 3 * DAY, lifetime: 30 * DAY }
    }
}

/// Settings of [`AccessControl`].
#[derive(Debug, Clone, Default)]
pub struct AccessSettings {
    /// An htpasswd file of users; it is read again when it changes.
    pub htpasswd: Option<PathBuf>,
    /// The role that users of the file have on every repository, in addition to their grants.
    pub htpasswd_role: Option<Role>,
    /// What anonymous users may do.
    pub modes: AnonymousModes,
    /// How long sessions last.
    pub sessions: SessionSettings,
    /// The runtime whose low-priority threads compare passwords, which is slow. Default: the runtime of the caller.
    pub low_priority_threads: Option<Handle>,
}

/// Authenticates and authorises the requests of a registry.
pub struct AccessControl {
    accounts: Arc<Accounts>,
    htpasswd: Option<HtpasswdFile>,
    pub(super) settings: AccessSettings,
    pub(super) passwords: Passwords,
    tokens: Tokens,
    pub(super) identities: Identities,
    pub(super) clock: Arc<dyn Clock>,
}

impl AccessControl {
    /// Creates the access control for the users of `accounts` and of the htpasswd file.
    ///
    /// # Errors
    /// Fails if the htpasswd file can't be read.
    pub fn new(
        settings: AccessSettings,
        accounts: Arc<Accounts>,
        tokens: Tokens,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let htpasswd = settings.htpasswd.as_ref().map(|path| HtpasswdFile::open(path, Arc::clone(&clock)));
        let htpasswd = htpasswd.transpose()?;
        let pool = LowPriorityPool::new(settings.low_priority_threads.clone());
        let passwords = Passwords::new(pool, Arc::clone(&clock));
        let identities = Identities::default();
        Ok(Self { accounts, htpasswd, settings, passwords, tokens, identities, clock })
    }

    /// Also accepts tokens of these identity providers and of this external authority.
    #[must_use]
    pub fn with_identity_providers(self, identities: Identities) -> Self {
        Self { identities, ..self }
    }

    /// Compares and hashes passwords within this memory budget.
    #[must_use]
    pub fn with_memory_budget(self, memory: MemoryBudget) -> Self {
        Self { passwords: self.passwords.with_memory_budget(memory), ..self }
    }

    fn trusts_external_identities(&self) -> bool {
        self.identities.has_identity_providers() || self.authority().is_some()
    }

    /// The external authority that issues tokens to clients, if one is configured.
    pub fn authority(&self) -> Option<&Authority> {
        self.identities.authority.as_ref()
    }

    /// The accounts of the metadata store.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// The issuer and verifier of bearer tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Whether anonymous users may push, pull and delete everything.
    pub fn is_open(&self) -> bool {
        self.allows(&Principal::Anonymous, Permission::Registry)
    }

    /// Whether the requests of a principal count as those of an authenticated client: it has logged in, or the registry
    /// requires no login.
    pub fn is_known(&self, principal: &Principal) -> bool {
        *principal != Principal::Anonymous || self.is_open()
    }

    /// Whether removing this user would open the registry to anonymous users.
    pub(super) fn is_open_without(&self, name: &str) -> bool {
        let has_others = self.htpasswd.is_some() || self.accounts.current().has_users_other_than(name);
        !has_others && self.settings.modes.role_everywhere(false) > self.settings.modes.role_everywhere(true)
    }

    /// Whether a user of this name exists.
    pub fn has_user(&self, name: &str) -> bool {
        self.accounts.current().account(name).is_some() || self.is_htpasswd_user(name)
    }

    /// The users of the htpasswd file that have no account, sorted by name.
    pub fn htpasswd_users(&self) -> Vec<String> {
        let mut names = self.htpasswd.as_ref().map(HtpasswdFile::names).unwrap_or_default();
        let directory = self.accounts.current();
        names.retain(|name| directory.account(name).is_none());
        names.sort_unstable();
        names
    }

    /// Finds a user whose name differs from this one only in case.
    pub(super) fn find_look_alike(&self, name: &str) -> Option<String> {
        self.user_names().find(|known| is_look_alike(known, name))
    }

    /// All pairs of users whose names differ only in case.
    pub fn look_alikes(&self) -> Vec<LookAlikes> {
        find_look_alikes(self.user_names())
    }

    fn user_names(&self) -> impl Iterator<Item = String> + use<> {
        let of_htpasswd = self.htpasswd.as_ref().map(HtpasswdFile::names).unwrap_or_default();
        let accounts: Vec<String> = self.accounts.current().account_names().map(str::to_owned).collect();
        accounts.into_iter().chain(of_htpasswd)
    }

    /// Whether the 401 challenge for a request without credentials requires a token (`Bearer`) instead of a password
    /// (`Basic`). If a part of the registry is public, Docker sends its password only to a token endpoint. Otherwise
    /// Basic authentication is enough, and it works even if the registry doesn't know its public address.
    pub fn uses_token_challenge(&self) -> bool {
        // A client that stores a refresh token no longer stores the password. A provider's token expires within
        // minutes, so the client has to exchange it for a token of this registry.
        self.trusts_external_identities()
            || self.with_rights(|rights| rights.directory.has_refresh_tokens || rights.is_partly_public())
    }

    /// Authenticates a client at this address by the value of its `Authorization` header (RFC 7617, RFC 6750).
    /// [`Self::decide`] checks permissions.
    ///
    /// # Errors
    /// Fails if the credentials are wrong or their check is throttled.
    pub async fn authenticate(
        &self,
        credentials: Option<&[u8]>,
        from: IpAddr,
    ) -> Result<Principal, AuthError> {
        match credentials.map_or(Credentials::Anonymous, Credentials::parse) {
            Credentials::Anonymous => Ok(Principal::Anonymous),
            Credentials::Password(name, password) => self.authenticate_user(name, password, from).await,
            Credentials::Token(token) if secret::token_id(token).is_some() => {
                self.authenticate_access_token(token, None, from)
            }
            Credentials::Token(token) => match self.authenticate_bearer(token) {
                Ok(principal) => Ok(principal),
                Err(denial) => match self.identities.identify(token, from, self.clock.now()).await {
                    Ok(Some(principal)) => Ok(principal),
                    Ok(None) | Err(_) => self.anonymous_if_open(denial),
                },
            },
            Credentials::Invalid => self.anonymous_if_open(AuthError::Unauthenticated),
        }
    }

    /// Treats rejected credentials as anonymous if the registry is open. Clients send stored credentials to any server
    /// that later uses the same address, and these must not lock them out of a registry that is open to everybody.
    fn anonymous_if_open(&self, denial: AuthError) -> Result<Principal, AuthError> {
        if self.is_open() { Ok(Principal::Anonymous) } else { Err(denial) }
    }

    /// Decides whether a principal has a permission.
    ///
    /// # Errors
    /// [`AuthError::Unauthenticated`] if the request could succeed with other credentials, otherwise
    /// [`AuthError::Forbidden`].
    pub fn decide(&self, principal: &Principal, permission: Permission<'_>) -> Result<(), AuthError> {
        if self.allows(principal, permission) {
            return Ok(());
        }
        let other_credentials_could_succeed = match (principal, permission) {
            // If the principal may not read the source, the mount is allowed here and becomes an ordinary upload.
            (_, Permission::Mount(to, from)) => {
                self.decide(principal, Permission::Repository(to, Action::Push))?;
                if !self.can_with_new_token(principal, Permission::Repository(from, Action::Pull)) {
                    return Ok(());
                }
                true
            }
            (Principal::Anonymous, _) => true,
            (Principal::Bearer(bearer), _) => match bearer.subject {
                TokenSubject::Anonymous | TokenSubject::AuthorityClient(_) => true,
                TokenSubject::User(_) | TokenSubject::Federated(_) => {
                    self.can_with_new_token(principal, permission)
                }
            },
            (
                Principal::LocalAdmin | Principal::User(_) | Principal::Token(_) | Principal::Federated(_),
                _,
            ) => false,
        };
        Err(if other_credentials_could_succeed { AuthError::Unauthenticated } else { AuthError::Forbidden })
    }

    /// Whether a principal has a permission now, or would have it after requesting a new token from this registry.
    pub fn can_with_new_token(&self, principal: &Principal, permission: Permission<'_>) -> bool {
        let Principal::Bearer(bearer) = principal else { return self.allows(principal, permission) };
        match &bearer.subject {
            // Only the external authority knows what a new token from it would allow.
            TokenSubject::AuthorityClient(_) => self.allows(principal, permission),
            // The bearer token was issued for an access token, whose role and scope limit every such bearer token.
            TokenSubject::User(User { access_token_id: Some(id), .. }) => {
                self.access_token(id).is_some_and(|token| self.allows(&Principal::Token(token), permission))
            }
            subject => self.with_rights(|rights| rights.allows_subject(subject, permission)),
        }
    }

    /// Whether a principal has a permission.
    pub fn allows(&self, principal: &Principal, permission: Permission<'_>) -> bool {
        self.with_rights(|rights| rights.allows(principal, permission))
    }

    /// The repositories that a principal may pull.
    pub fn visible_repositories(&self, principal: &Principal) -> Visible {
        self.with_rights(|rights| rights.visible_repositories(principal))
    }

    /// The repositories that a principal may pull, possibly with a new token of this registry: a token for the catalog
    /// names no repository.
    pub fn visible_in_catalog(&self, principal: &Principal) -> Visible {
        let Principal::Bearer(bearer) = principal else { return self.visible_repositories(principal) };
        match &bearer.subject {
            TokenSubject::AuthorityClient(_) => self.visible_repositories(principal),
            // The token was issued for an access token, which limits all tokens issued for it.
            TokenSubject::User(User { access_token_id: Some(id), .. }) => match self.access_token(id) {
                Some(token) => self.visible_repositories(&Principal::Token(token)),
                None => Visible::default(),
            },
            subject => self.with_rights(|rights| rights.visible_to_subject(subject)),
        }
    }

    /// Evaluates `query` on a snapshot of the current rights.
    pub(super) fn with_rights<T>(&self, query: impl FnOnce(&Rights<'_>) -> T) -> T {
        query(&Rights {
            directory: self.accounts.current(),
            modes: &self.settings.modes,
            htpasswd_role: self.htpasswd.as_ref().map(|_| self.settings.htpasswd_role),
            trusts_external_identities: self.trusts_external_identities(),
            is_htpasswd_user: &|name| self.is_htpasswd_user(name),
        })
    }

    /// Whether the name is a user of the htpasswd file. If an account has the same name, the file's user is ignored.
    fn is_htpasswd_user(&self, name: &str) -> bool {
        let is_in_file = |file: &HtpasswdFile| file.current().contains_key(name);
        self.htpasswd.as_ref().is_some_and(is_in_file) && self.accounts.current().account(name).is_none()
    }

    /// Issues a bearer token that grants the part of `scopes` that the principal is allowed.
    ///
    /// # Errors
    /// [`AuthError::Unauthenticated`] if the principal itself authenticated with a bearer token, or if its user no
    /// longer exists.
    pub fn issue_token<'a>(
        &self,
        principal: &Principal,
        scopes: impl Iterator<Item = &'a str>,
    ) -> Result<Token, AuthError> {
        let subject = match principal {
            Principal::LocalAdmin | Principal::Anonymous => TokenSubject::Anonymous,
            Principal::User(user) => TokenSubject::User(user.as_ref().clone()),
            Principal::Token(token) => TokenSubject::User(
                self.current_user(&token.account, Some(&token.id)).ok_or(AuthError::Unauthenticated)?,
            ),
            Principal::Federated(identity) => TokenSubject::Federated(identity.as_ref().clone()),
            Principal::Bearer(_) => return Err(AuthError::Unauthenticated),
        };
        let requested = scopes.take(MAX_SCOPES).filter_map(Grant::parse);
        let grants =
            requested.filter_map(|grant| grant.restrict(|permission| self.allows(principal, permission)));
        let bearer = Bearer { subject, grants: grants.collect() };
        self.tokens.issue(bearer, self.clock.now()).map_err(|error| {
            tracing::error!(%error, "failed to issue a token");
            AuthError::Unauthenticated
        })
    }

    /// Authenticates a bearer token of this registry. The credentials that it was issued for must still be valid.
    fn authenticate_bearer(&self, token: &[u8]) -> Result<Principal, AuthError> {
        let bearer = self.tokens.verify(token, self.clock.now()).ok_or(AuthError::Unauthenticated)?;
        let principal = Principal::Bearer(bearer);
        if self.is_still_valid(&principal) { Ok(principal) } else { Err(AuthError::Unauthenticated) }
    }

    /// Whether an authenticated principal would still be authenticated now. The password that came with the head of a
    /// request may change while the body arrives.
    pub fn is_still_valid(&self, principal: &Principal) -> bool {
        let is_current = |user: &User| {
            self.current_user(&user.name, user.access_token_id.as_deref()).as_ref() == Some(user)
        };
        match principal {
            Principal::LocalAdmin | Principal::Anonymous => true,
            Principal::User(user) => is_current(user),
            Principal::Token(token) => self.access_token(&token.id).is_some(),
            Principal::Federated(identity) => self.identities.is_still_trusted(identity),
            Principal::Bearer(bearer) => match &bearer.subject {
                TokenSubject::Anonymous | TokenSubject::AuthorityClient(_) => true,
                TokenSubject::User(user) => is_current(user),
                TokenSubject::Federated(identity) => self.identities.is_still_trusted(identity),
            },
        }
    }

    /// A user with the fingerprint of their current credential: the password, the identity at a provider if there is no
    /// password, or this access token.
    pub(super) fn current_user(&self, name: &str, access_token_id: Option<&str>) -> Option<User> {
        let credential = match access_token_id {
            None => self.sign_in_credential(name)?,
            Some(id) => hex::encode(self.access_token(id)?.hash),
        };
        Some(User {
            name: name.into(),
            credential_fingerprint: credential_fingerprint(&credential),
            access_token_id: access_token_id.map(str::to_owned),
        })
    }

    /// What a user signs in with.
    fn sign_in_credential(&self, name: &str) -> Option<String> {
        if let Some(hash) = self.password_hash(name) {
            return Some(hash.as_str().to_owned());
        }
        let directory = self.accounts.current();
        let account = directory.account(name).filter(|account| !account.disabled)?;
        account.identity.as_ref().map(|identity| format!("identity {identity}"))
    }

    fn password_hash(&self, name: &str) -> Option<StoredHash> {
        match self.accounts.current().account(name) {
            Some(account) if account.disabled => None,
            Some(account) => account.password.clone().map(StoredHash::Account),
            None => self.htpasswd.as_ref()?.current().get(name).cloned().map(StoredHash::File),
        }
    }

    /// An access token that has not expired, and whose user exists and is enabled.
    pub(super) fn access_token(&self, id: &str) -> Option<Arc<TokenRecord>> {
        let directory = self.accounts.current();
        let token = directory.token(id, self.clock.now())?;
        let is_enabled_user = match directory.account(&token.account) {
            Some(account) => !account.disabled,
            None => self.is_htpasswd_user(&token.account),
        };
        is_enabled_user.then(|| Arc::clone(token))
    }

    /// Authenticates a user name with a password or an access token that came in a form instead of the `Authorization`
    /// header.
    ///
    /// # Errors
    /// Fails if the credentials are wrong or their check is throttled.
    pub async fn log_in(&self, name: &str, password: &[u8], from: IpAddr) -> Result<Principal, AuthError> {
        if name.is_empty() || is_too_long(password) {
            return Err(AuthError::Unauthenticated);
        }
        self.authenticate_user(name.to_owned(), password.to_vec(), from).await
    }

    /// Records a failed login of this address, with an unknown access token or refresh token. Returns the error for the
    /// client.
    pub(super) fn reject_unknown_token(&self, from: IpAddr) -> AuthError {
        match self.passwords.check_throttle(None, from) {
            Ok(()) => {
                self.passwords.record_failure(None, from);
                AuthError::Unauthenticated
            }
            Err(denial) => denial,
        }
    }

    async fn authenticate_user(
        &self,
        name: String,
        password: Vec<u8>,
        from: IpAddr,
    ) -> Result<Principal, AuthError> {
        if secret::token_id(&password).is_some() {
            return self.authenticate_access_token(&password, Some(&name), from);
        }
        match self.identities.identify(&password, from, self.clock.now()).await {
            Ok(None) => {}
            Ok(Some(principal)) => return Ok(principal),
            Err(denial) => return self.anonymous_if_open(denial),
        }
        if self.is_open() && !self.has_user(&name) {
            return Ok(Principal::Anonymous);
        }
        let any_htpasswd_hash =
            self.htpasswd.as_ref().and_then(|file| file.current().values().next().cloned());
        let of_user = self.password_hash(&name);
        let credential_fingerprint =
            of_user.as_ref().map(|hash| credential_fingerprint(hash.as_str())).unwrap_or_default();
        let hashes = PasswordHashes { of_user, any_htpasswd_hash };
        self.passwords.check(&name, password, hashes, from).await?;
        Ok(Principal::User(Arc::new(User {
            name: name.into(),
            credential_fingerprint,
            access_token_id: None,
        })))
    }

    /// Authenticates an access token that came alone or in place of its user's password. Rejects refresh tokens:
    /// clients can only exchange them for bearer tokens.
    fn authenticate_access_token(
        &self,
        token: &[u8],
        name: Option<&str>,
        from: IpAddr,
    ) -> Result<Principal, AuthError> {
        let found = secret::token_id(token).and_then(|id| self.access_token(id)).filter(|record| {
            secret::hashes_equal(&record.hash, &secret::hash_token(token))
                && record.bound.is_none()
                && name.is_none_or(|name| name == record.account)
        });
        let Some(record) = found else {
            return Err(self.reject_unknown_token(from));
        };
        self.accounts.record_use(&record.id, record.used_at, self.clock.now());
        Ok(Principal::Token(record))
    }
}
