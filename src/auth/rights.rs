//! What somebody may do: the one place where that is decided.

use std::sync::Arc;

use super::bearer::TokenSubject;
use super::directory::{Directory, Held};
use super::identity::FederatedIdentity;
use super::modes::Modes;
use super::principal::Principal;
use super::scope::{Action, Permission};
use crate::metadata::{Role, Scope, TokenRecord};
use crate::oci::RepoName;

/// What there is to decide by, at a moment.
pub(super) struct Rights<'a> {
    pub(super) directory: Arc<Directory>,
    pub(super) modes: &'a Modes,
    /// What the users of a file may do everywhere, where there is a file.
    pub(super) of_file: Option<Option<Role>>,
    /// Whether others' word for who somebody is counts.
    pub(super) trusts_external_identities: bool,
    /// Whether somebody is a user of the file, and has no account.
    pub(super) in_file: &'a dyn Fn(&str) -> bool,
}

impl Rights<'_> {
    /// Whether there are users, so that not everybody is trusted.
    pub(super) fn has_users(&self) -> bool {
        self.of_file.is_some() || self.trusts_external_identities || self.directory.has_users()
    }

    /// Whether somebody may do something now.
    pub(super) fn allow(&self, principal: &Principal, permission: Permission<'_>) -> bool {
        permission.all(|permission| match principal {
            Principal::LocalAdmin => true,
            Principal::Anonymous => self.allow_everybody(permission),
            Principal::User(user) => self.allow_user(&user.name, permission),
            Principal::Token(token) => {
                covers(token, permission) && self.allow_user(&token.account, permission)
            }
            Principal::Federated(identity) => self.allow_visitor(identity, permission),
            Principal::Bearer(_) if permission == Permission::Registry => true,
            Principal::Bearer(bearer) => {
                self.allow_holder(&bearer.of, permission)
                    && bearer.grants.iter().any(|grant| grant.covers(permission))
            }
        })
    }

    /// Whether whom a token is for may, by whatever they come.
    pub(super) fn allow_holder(&self, holder: &TokenSubject, permission: Permission<'_>) -> bool {
        match holder {
            TokenSubject::Anonymous => self.allow_everybody(permission),
            TokenSubject::User(user) => self.allow_user(&user.name, permission),
            TokenSubject::Federated(identity) => self.allow_visitor(identity, permission),
            // Only who issued it knows, and has said so in it.
            TokenSubject::Delegated(_) => true,
        }
    }

    /// Whether a user may, by whatever they come.
    pub(super) fn allow_user(&self, user: &str, permission: Permission<'_>) -> bool {
        permission.all(|permission| match permission {
            Permission::Repository(name, action) => self.role(user, name) >= Some(action.role()),
            Permission::Scope(scope, action) => {
                gives(self.directory.held_by(user), scope, action)
                    || self.by_file(user) >= Some(action.role())
                    || self.allow_everybody(permission)
            }
            Permission::Mount(..) | Permission::Catalog | Permission::Registry | Permission::Other => true,
        })
    }

    fn allow_visitor(&self, identity: &FederatedIdentity, permission: Permission<'_>) -> bool {
        permission.all(|permission| match permission {
            Permission::Repository(name, action) => {
                best(&identity.held, name).max(self.role_of_everybody(name)) >= Some(action.role())
            }
            Permission::Scope(scope, action) => {
                gives(&identity.held, scope, action) || self.allow_everybody(permission)
            }
            Permission::Mount(..) | Permission::Catalog | Permission::Registry | Permission::Other => true,
        })
    }

    fn allow_everybody(&self, permission: Permission<'_>) -> bool {
        let users = self.has_users();
        permission.all(|permission| match permission {
            Permission::Repository(name, action) => self.role_of_everybody(name) >= Some(action.role()),
            Permission::Scope(scope, action) => {
                gives(self.directory.held_by_everybody(), scope, action)
                    || self.modes.everywhere(users) >= Some(action.role())
            }
            // Docker shows no password to a registry that lets it in without one.
            Permission::Registry => self.modes.everywhere(users) >= Some(Role::Delete),
            Permission::Mount(..) | Permission::Catalog | Permission::Other => {
                self.modes.everywhere(users) >= Some(Role::Pull)
            }
        })
    }

    /// What a user may do to a repository.
    pub(super) fn role(&self, user: &str, name: &RepoName) -> Option<Role> {
        let held = best(self.directory.held_by(user), name);
        held.max(self.by_file(user)).max(self.role_of_everybody(name))
    }

    /// What everybody may do to a repository.
    pub(super) fn role_of_everybody(&self, name: &RepoName) -> Option<Role> {
        best(self.directory.held_by_everybody(), name).max(self.modes.role(name, self.has_users()))
    }

    /// Whether everybody may do something.
    pub(super) fn is_partly_public(&self) -> bool {
        !self.directory.held_by_everybody().is_empty() || self.modes.anywhere(self.has_users()).is_some()
    }

    /// What a user may do for being in the file.
    pub(super) fn by_file(&self, user: &str) -> Option<Role> {
        self.of_file.flatten().filter(|_| (self.in_file)(user))
    }
}

/// Whether an access token is good for something, if its user may do it.
fn covers(token: &TokenRecord, permission: Permission<'_>) -> bool {
    match permission {
        Permission::Repository(name, action) => token.scope.holds(name) && token.role >= action.role(),
        Permission::Scope(scope, action) => token.scope.contains(scope) && token.role >= action.role(),
        Permission::Mount(..) => false,
        Permission::Catalog | Permission::Registry | Permission::Other => true,
    }
}

/// Whether one of these is enough for something everywhere in a scope.
fn gives<'a>(held: impl IntoIterator<Item = &'a Held>, scope: &Scope, action: Action) -> bool {
    held.into_iter().any(|(there, role)| there.contains(scope) && *role >= action.role())
}

fn best<'a>(held: impl IntoIterator<Item = &'a Held>, name: &RepoName) -> Option<Role> {
    held.into_iter().filter(|(scope, _)| scope.holds(name)).map(|(_, role)| *role).max()
}
