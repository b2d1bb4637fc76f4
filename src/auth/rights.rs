//! Decides whether a principal has a permission. This is the only place that makes this decision. Also computes which
//! repositories lists show to a principal: those that it may pull.

use std::sync::Arc;

use super::directory::{Directory, HeldRole};
use super::modes::AnonymousModes;
use super::principal::{Bearer, FederatedIdentity, Principal, TokenSubject};
use super::scope::{Action, Grant, Permission};
use crate::metadata::{NameRange, Role, Scope, TokenRecord, Visible};
use crate::oci::RepoName;

/// A snapshot of everything that decisions depend on.
pub(super) struct Rights<'a> {
    pub(super) directory: Arc<Directory>,
    pub(super) modes: &'a AnonymousModes,
    /// The role that users of the htpasswd file have everywhere. The outer `None` means that there is no file.
    #[expect(clippy::option_option, reason = "the file may be absent, and may give the user no role")]
    pub(super) htpasswd_role: Option<Option<Role>>,
    /// Whether an identity provider or a token authority is configured.
    pub(super) trusts_external_identities: bool,
    /// Returns whether a name is a user of the htpasswd file and has no account.
    pub(super) is_htpasswd_user: &'a dyn Fn(&str) -> bool,
}

impl Rights<'_> {
    /// Whether anybody can log in. If not, the default mode is open.
    pub(super) fn has_users(&self) -> bool {
        self.htpasswd_role.is_some() || self.trusts_external_identities || self.directory.has_users()
    }

    /// Whether a principal has a permission now.
    pub(super) fn allows(&self, principal: &Principal, permission: Permission<'_>) -> bool {
        permission.all_parts_satisfy(|permission| match principal {
            Principal::LocalAdmin => true,
            Principal::Anonymous => self.allows_everybody(permission),
            Principal::User(user) => self.allows_user(&user.name, permission),
            Principal::Token(token) => {
                token_covers(token, permission) && self.allows_user(&token.account, permission)
            }
            Principal::Federated(identity) => self.allows_federated(identity, permission),
            Principal::Bearer(_) if permission == Permission::Registry => true,
            Principal::Bearer(bearer) => {
                self.allows_subject(&bearer.subject, permission)
                    && bearer.grants.iter().any(|grant| grant.covers(permission))
            }
        })
    }

    /// Whether the subject of a token has a permission, regardless of the token's grants.
    pub(super) fn allows_subject(&self, subject: &TokenSubject, permission: Permission<'_>) -> bool {
        match subject {
            TokenSubject::Anonymous => self.allows_everybody(permission),
            TokenSubject::User(user) => self.allows_user(&user.name, permission),
            TokenSubject::Federated(identity) => self.allows_federated(identity, permission),
            // Only the external authority knows the subject's permissions. It puts them into the token's grants.
            TokenSubject::AuthorityClient(_) => true,
        }
    }

    /// Whether a user has a permission, regardless of their credentials.
    pub(super) fn allows_user(&self, user: &str, permission: Permission<'_>) -> bool {
        permission.all_parts_satisfy(|permission| match permission {
            Permission::Repository(name, action) => self.role(user, name) >= Some(action.role()),
            Permission::Scope(scope, action) => {
                has_sufficient_role(self.directory.roles_of(user), scope, action)
                    || self.htpasswd_role_of(user) >= Some(action.role())
                    || self.allows_everybody(permission)
            }
            Permission::Mount(..) | Permission::Catalog | Permission::Registry | Permission::Other => true,
        })
    }

    fn allows_federated(&self, identity: &FederatedIdentity, permission: Permission<'_>) -> bool {
        permission.all_parts_satisfy(|permission| match permission {
            Permission::Repository(name, action) => {
                highest_role(&identity.roles, name).max(self.role_of_everybody(name)) >= Some(action.role())
            }
            Permission::Scope(scope, action) => {
                has_sufficient_role(&identity.roles, scope, action) || self.allows_everybody(permission)
            }
            Permission::Mount(..) | Permission::Catalog | Permission::Registry | Permission::Other => true,
        })
    }

    fn allows_everybody(&self, permission: Permission<'_>) -> bool {
        let has_users = self.has_users();
        permission.all_parts_satisfy(|permission| match permission {
            Permission::Repository(name, action) => self.role_of_everybody(name) >= Some(action.role()),
            Permission::Scope(scope, action) => {
                has_sufficient_role(self.directory.roles_of_everybody(), scope, action)
                    || self.modes.role_everywhere(has_users) >= Some(action.role())
            }
            // Anonymous `GET /v2/` succeeds only if everything is open, because Docker sends a password only if this
            // request is rejected.
            Permission::Registry => self.modes.role_everywhere(has_users) >= Some(Role::Delete),
            Permission::Mount(..) | Permission::Catalog | Permission::Other => {
                self.modes.role_everywhere(has_users) >= Some(Role::Pull)
            }
        })
    }

    /// The role of a user on a repository.
    pub(super) fn role(&self, user: &str, name: &RepoName) -> Option<Role> {
        let granted = highest_role(self.directory.roles_of(user), name);
        granted.max(self.htpasswd_role_of(user)).max(self.role_of_everybody(name))
    }

    /// The role of anonymous users on a repository.
    pub(super) fn role_of_everybody(&self, name: &RepoName) -> Option<Role> {
        highest_role(self.directory.roles_of_everybody(), name).max(self.modes.role(name, self.has_users()))
    }

    /// Whether anonymous users have any role anywhere.
    pub(super) fn is_partly_public(&self) -> bool {
        !self.directory.roles_of_everybody().is_empty() || self.modes.highest_role(self.has_users()).is_some()
    }

    /// The role that a user has because of the htpasswd file.
    pub(super) fn htpasswd_role_of(&self, user: &str) -> Option<Role> {
        self.htpasswd_role.flatten().filter(|_| (self.is_htpasswd_user)(user))
    }

    /// The repositories that a principal may pull, as ranges of names that a store can search.
    pub(super) fn visible_repositories(&self, principal: &Principal) -> Visible {
        match principal {
            Principal::LocalAdmin => Visible::all(),
            Principal::Anonymous => self.visible_to_everybody(),
            Principal::User(user) => self.visible_to_user(&user.name),
            Principal::Token(token) => self.visible_to_user(&token.account).within(&(&token.scope).into()),
            Principal::Federated(identity) => self.visible_to_everybody().or_in(ranges_of(&identity.roles)),
            Principal::Bearer(bearer) => self.visible_to_bearer(principal, bearer),
        }
    }

    fn visible_to_bearer(&self, principal: &Principal, bearer: &Bearer) -> Visible {
        let names = bearer.grants.iter().filter_map(Grant::pullable_repository);
        let allowed = names.filter(|name| self.allows(principal, Permission::Repository(name, Action::Pull)));
        Visible::from_ranges(allowed.map(|name: RepoName| NameRange::name(name.as_str())))
    }

    /// The repositories that the subject of a token may pull, regardless of the token's grants.
    pub(super) fn visible_to_subject(&self, subject: &TokenSubject) -> Visible {
        match subject {
            TokenSubject::Anonymous => self.visible_to_everybody(),
            TokenSubject::User(user) => self.visible_to_user(&user.name),
            TokenSubject::Federated(identity) => {
                self.visible_to_everybody().or_in(ranges_of(&identity.roles))
            }
            TokenSubject::AuthorityClient(_) => Visible::default(),
        }
    }

    fn visible_to_user(&self, user: &str) -> Visible {
        if self.htpasswd_role_of(user).is_some() {
            return Visible::all();
        }
        self.visible_to_everybody().or_in(ranges_of(self.directory.roles_of(user)))
    }

    fn visible_to_everybody(&self) -> Visible {
        let granted = ranges_of(self.directory.roles_of_everybody());
        self.modes.visible_repositories(self.has_users()).or_in(granted)
    }
}

/// Whether an access token's role and scope include a permission. The caller checks that its user has it too.
fn token_covers(token: &TokenRecord, permission: Permission<'_>) -> bool {
    match permission {
        Permission::Repository(name, action) => token.scope.includes(name) && token.role >= action.role(),
        Permission::Scope(scope, action) => token.scope.contains(scope) && token.role >= action.role(),
        Permission::Mount(..) => false,
        Permission::Catalog | Permission::Registry | Permission::Other => true,
    }
}

/// Whether one of these roles is sufficient for an action everywhere in a scope.
fn has_sufficient_role<'a>(
    roles: impl IntoIterator<Item = &'a HeldRole>,
    scope: &Scope,
    action: Action,
) -> bool {
    roles.into_iter().any(|(granted_on, role)| granted_on.contains(scope) && *role >= action.role())
}

fn highest_role<'a>(roles: impl IntoIterator<Item = &'a HeldRole>, name: &RepoName) -> Option<Role> {
    roles.into_iter().filter(|(scope, _)| scope.includes(name)).map(|(_, role)| *role).max()
}

/// The ranges of names in the scopes of these roles. Every role includes pulling.
fn ranges_of<'a>(roles: impl IntoIterator<Item = &'a HeldRole>) -> impl Iterator<Item = NameRange> {
    roles.into_iter().map(|(scope, _)| scope.into())
}
