//! Computes which repositories lists show to a principal: those that [`Rights`] allows it to pull, as ranges of names
//! that a store can search.

use super::access_control::AccessControl;
use super::directory::HeldRole;
use super::principal::{Bearer, Principal, TokenSubject, User};
use super::rights::Rights;
use super::scope::{Action, Grant, Permission};
use crate::metadata::{NameRange, Visible};
use crate::oci::RepoName;

impl AccessControl {
    /// The repositories that a principal may pull.
    pub fn visible_repositories(&self, principal: &Principal) -> Visible {
        self.with_rights(|rights| rights.visible_repositories(principal))
    }

    /// The repositories that a principal may pull, possibly with a new token of this registry: a token for the catalog
    /// names no repository.
    pub fn visible_in_catalog(&self, principal: &Principal) -> Visible {
        let Principal::Bearer(bearer) = principal else { return self.visible_repositories(principal) };
        match &bearer.subject {
            TokenSubject::Delegated(_) => self.visible_repositories(principal),
            // The token was issued for an access token, which limits all tokens issued for it.
            TokenSubject::User(User { access_token_id: Some(id), .. }) => match self.access_token(id) {
                Some(token) => self.visible_repositories(&Principal::Token(token)),
                None => Visible::default(),
            },
            subject => self.with_rights(|rights| rights.visible_to_subject(subject)),
        }
    }
}

impl Rights<'_> {
    fn visible_repositories(&self, principal: &Principal) -> Visible {
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

    fn visible_to_subject(&self, subject: &TokenSubject) -> Visible {
        match subject {
            TokenSubject::Anonymous => self.visible_to_everybody(),
            TokenSubject::User(user) => self.visible_to_user(&user.name),
            TokenSubject::Federated(identity) => {
                self.visible_to_everybody().or_in(ranges_of(&identity.roles))
            }
            TokenSubject::Delegated(_) => Visible::default(),
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

/// The ranges of names in the scopes of these roles. Every role includes pulling.
fn ranges_of<'a>(roles: impl IntoIterator<Item = &'a HeldRole>) -> impl Iterator<Item = NameRange> {
    roles.into_iter().map(|(scope, _)| scope.into())
}
