//! A snapshot of all accounts and their roles, indexed for the lookups of each request.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::metadata::{
    AccountKind, AccountRecord, AccountRecords, GrantRecord, Grantee, Role, Scope, SessionRecord, TokenRecord,
};

/// A role, and the scope that it applies to.
pub(super) type HeldRole = (Scope, Role);

/// A snapshot of all accounts with their tokens and roles.
#[derive(Debug, Default)]
pub struct Directory {
    accounts: HashMap<String, AccountRecord>,
    tokens: HashMap<String, Arc<TokenRecord>>,
    /// The sessions by the hashes of their secrets.
    sessions: HashMap<[u8; 32], Arc<SessionRecord>>,
    /// The roles of each user, by user name. Includes the roles of the user's teams.
    roles_by_user: HashMap<String, Vec<HeldRole>>,
    /// The roles granted to `@users`.
    roles_of_all_users: Vec<HeldRole>,
    /// The roles granted to `@everybody`.
    roles_of_everybody: Vec<HeldRole>,
    /// Whether there are refresh tokens, which clients store in place of a password.
    pub(super) has_refresh_tokens: bool,
    records: AccountRecords,
}

impl Directory {
    pub(super) fn new(records: AccountRecords) -> Self {
        let mut directory = Self::default();
        for GrantRecord { grantee, scope, role, .. } in &records.grants {
            let role = (scope.clone(), *role);
            match grantee {
                Grantee::Users => directory.roles_of_all_users.push(role),
                Grantee::Everybody => directory.roles_of_everybody.push(role),
                Grantee::User(name) => directory.roles_by_user.entry(name.clone()).or_default().push(role),
                Grantee::Team(team) => {
                    for (_, name) in records.members.iter().filter(|(member_of, _)| member_of == team) {
                        directory.roles_by_user.entry(name.clone()).or_default().push(role.clone());
                    }
                }
            }
        }
        for account in &records.accounts {
            if account.kind == AccountKind::Bootstrap {
                directory
                    .roles_by_user
                    .entry(account.name.clone())
                    .or_default()
                    .push((Scope::All, Role::Admin));
            }
            directory.accounts.insert(account.name.clone(), account.clone());
        }
        let tokens = records.tokens.iter().map(|token| (token.id.clone(), Arc::new(token.clone())));
        directory.tokens = tokens.collect();
        let sessions = records.sessions.iter().map(|session| (session.hash, Arc::new(session.clone())));
        directory.sessions = sessions.collect();
        directory.has_refresh_tokens = records.tokens.iter().any(|token| token.bound.is_some());
        directory.records = records;
        directory
    }

    /// The account records, as loaded from the database.
    pub fn records(&self) -> &AccountRecords {
        &self.records
    }

    /// The account of this name.
    pub fn account(&self, name: &str) -> Option<&AccountRecord> {
        self.accounts.get(name)
    }

    /// The names of all accounts.
    pub fn account_names(&self) -> impl Iterator<Item = &str> {
        self.records.accounts.iter().map(|account| account.name.as_str())
    }

    /// The account that is bound to this identity at an identity provider.
    pub(super) fn account_by_identity(&self, identity: &str) -> Option<&AccountRecord> {
        self.records.accounts.iter().find(|account| account.identity.as_deref() == Some(identity))
    }

    /// Whether there are accounts other than that of the first administrator (`Bootstrap`).
    pub(super) fn has_users(&self) -> bool {
        self.has_users_other_than("")
    }

    /// Whether there are accounts other than this one and the first administrator's.
    pub(super) fn has_users_other_than(&self, name: &str) -> bool {
        let is_other =
            |account: &AccountRecord| account.kind != AccountKind::Bootstrap && account.name != name;
        self.records.accounts.iter().any(is_other)
    }

    /// The access token with this id, unless it has expired.
    pub(super) fn token(&self, id: &str, now: Timestamp) -> Option<&Arc<TokenRecord>> {
        self.tokens.get(id).filter(|token| token.expires_at.is_none_or(|end| now < end))
    }

    /// The session whose secret has this hash. This doesn't check whether it has ended.
    pub(super) fn session(&self, hash: &[u8; 32]) -> Option<&Arc<SessionRecord>> {
        self.sessions.get(hash)
    }

    /// All roles of a user. This doesn't check whether the user exists.
    pub(super) fn roles_of(&self, user: &str) -> impl Iterator<Item = &HeldRole> {
        let own = self.roles_by_user.get(user).into_iter().flatten();
        own.chain(&self.roles_of_all_users).chain(&self.roles_of_everybody)
    }

    /// The roles of anonymous users.
    pub(super) fn roles_of_everybody(&self) -> &[HeldRole] {
        &self.roles_of_everybody
    }

    /// The grants that apply to a user.
    pub(super) fn grants_of(&self, user: &str) -> impl Iterator<Item = &GrantRecord> {
        self.records.grants.iter().filter(move |grant| match &grant.grantee {
            Grantee::Users | Grantee::Everybody => true,
            Grantee::User(name) => name == user,
            Grantee::Team(team) => {
                self.records.members.iter().any(|(member_of, name)| member_of == team && name == user)
            }
        })
    }
}
