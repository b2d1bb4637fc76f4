//! All accounts and what they may do, as they are at a moment, ready to be asked at each request.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::metadata::{
    AccountKind, AccountRecord, AccountRecords, GrantRecord, Grantee, Role, Scope, TokenRecord,
};

/// A role, and where somebody has it.
pub(super) type Held = (Scope, Role);

/// Accounts at a moment.
#[derive(Debug, Default)]
pub struct Directory {
    accounts: HashMap<String, AccountRecord>,
    tokens: HashMap<String, Arc<TokenRecord>>,
    /// By users' names, those of their teams among them.
    held: HashMap<String, Vec<Held>>,
    by_users: Vec<Held>,
    by_everybody: Vec<Held>,
    /// Whether some client shows a token in the place of a password.
    pub(super) renews: bool,
    records: AccountRecords,
}

impl Directory {
    pub(super) fn of(records: AccountRecords) -> Self {
        let mut directory = Self::default();
        for GrantRecord { grantee, scope, role, .. } in &records.grants {
            let held = (scope.clone(), *role);
            match grantee {
                Grantee::Users => directory.by_users.push(held),
                Grantee::Everybody => directory.by_everybody.push(held),
                Grantee::User(name) => directory.held.entry(name.clone()).or_default().push(held),
                Grantee::Team(team) => {
                    for (_, name) in records.members.iter().filter(|(of, _)| of == team) {
                        directory.held.entry(name.clone()).or_default().push(held.clone());
                    }
                }
            }
        }
        for account in &records.accounts {
            if account.kind == AccountKind::Bootstrap {
                directory.held.entry(account.name.clone()).or_default().push((Scope::All, Role::Admin));
            }
            directory.accounts.insert(account.name.clone(), account.clone());
        }
        let tokens = records.tokens.iter().map(|token| (token.id.clone(), Arc::new(token.clone())));
        directory.tokens = tokens.collect();
        directory.renews = records.tokens.iter().any(|token| token.bound.is_some());
        directory.records = records;
        directory
    }

    /// All of it, as it is recorded.
    pub fn records(&self) -> &AccountRecords {
        &self.records
    }

    /// An account.
    pub fn account(&self, name: &str) -> Option<&AccountRecord> {
        self.accounts.get(name)
    }

    /// The names of all accounts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.records.accounts.iter().map(|account| account.name.as_str())
    }

    /// The account of whom an issuer calls so.
    pub(super) fn known_as(&self, identity: &str) -> Option<&AccountRecord> {
        self.records.accounts.iter().find(|account| account.identity.as_deref() == Some(identity))
    }

    /// Whether somebody besides the first administrator has an account.
    pub(super) fn has_users(&self) -> bool {
        self.has_users_besides("")
    }

    /// The same without one of them.
    pub(super) fn has_users_besides(&self, name: &str) -> bool {
        let others = |account: &AccountRecord| account.kind != AccountKind::Bootstrap && account.name != name;
        self.records.accounts.iter().any(others)
    }

    /// A token that has not ended.
    pub(super) fn token(&self, id: &str, now: Timestamp) -> Option<&Arc<TokenRecord>> {
        self.tokens.get(id).filter(|token| token.expires_at.is_none_or(|end| now < end))
    }

    /// What a user has, whoever knows whether there is such a one.
    pub(super) fn held_by(&self, user: &str) -> impl Iterator<Item = &Held> {
        self.held.get(user).into_iter().flatten().chain(&self.by_users).chain(&self.by_everybody)
    }

    /// What everybody has.
    pub(super) fn held_by_everybody(&self) -> &[Held] {
        &self.by_everybody
    }

    /// The grants that a user has something by.
    pub(super) fn grants_of(&self, user: &str) -> impl Iterator<Item = &GrantRecord> {
        self.records.grants.iter().filter(move |grant| match &grant.grantee {
            Grantee::Users | Grantee::Everybody => true,
            Grantee::User(name) => name == user,
            Grantee::Team(team) => self.records.members.iter().any(|(of, name)| of == team && name == user),
        })
    }
}
