//! Which repositories lists show to a principal: those that [`Rights`] allows it to pull, as ranges that a store can search.

use super::access_control::AccessControl;
use super::bearer::{Bearer, TokenSubject, User};
use super::directory::Held;
use super::principal::Principal;
use super::rights::Rights;
use super::scope::{Action, Grant, Permission};
use crate::metadata::{NameRange, Visible};
use crate::oci::RepoName;

impl AccessControl {
    /// The repositories that a principal may pull.
    pub fn visible(&self, principal: &Principal) -> Visible {
        self.with_rights(|rights| rights.visible(principal))
    }

    /// The same, be it with another token of ours: one for the catalog names no repository.
    pub fn visible_in_catalog(&self, principal: &Principal) -> Visible {
        let Principal::Bearer(bearer) = principal else { return self.visible(principal) };
        match &bearer.of {
            TokenSubject::Delegated(_) => self.visible(principal),
            // It came of an access token, and none is good for more than that.
            TokenSubject::User(User { by: Some(id), .. }) => match self.access_token(id) {
                Some(token) => self.visible(&Principal::Token(token)),
                None => Visible::default(),
            },
            holder => self.with_rights(|rights| rights.visible_to_holder(holder)),
        }
    }
}

impl Rights<'_> {
    fn visible(&self, principal: &Principal) -> Visible {
        match principal {
            Principal::LocalAdmin => Visible::all(),
            Principal::Anonymous => self.visible_to_everybody(),
            Principal::User(user) => self.visible_to_user(&user.name),
            Principal::Token(token) => self.visible_to_user(&token.account).within(&(&token.scope).into()),
            Principal::Federated(identity) => self.visible_to_everybody().or_in(pullable(&identity.held)),
            Principal::Bearer(bearer) => self.visible_to_bearer(principal, bearer),
        }
    }

    fn visible_to_bearer(&self, principal: &Principal, bearer: &Bearer) -> Visible {
        let names = bearer.grants.iter().filter_map(Grant::pullable);
        let allowed = names.filter(|name| self.allow(principal, Permission::Repository(name, Action::Pull)));
        Visible::from_ranges(allowed.map(|name: RepoName| NameRange::name(name.as_str())))
    }

    fn visible_to_holder(&self, holder: &TokenSubject) -> Visible {
        match holder {
            TokenSubject::Anonymous => self.visible_to_everybody(),
            TokenSubject::User(user) => self.visible_to_user(&user.name),
            TokenSubject::Federated(identity) => self.visible_to_everybody().or_in(pullable(&identity.held)),
            TokenSubject::Delegated(_) => Visible::default(),
        }
    }

    fn visible_to_user(&self, user: &str) -> Visible {
        if self.by_file(user).is_some() {
            return Visible::all();
        }
        self.visible_to_everybody().or_in(pullable(self.directory.held_by(user)))
    }

    fn visible_to_everybody(&self) -> Visible {
        let granted = pullable(self.directory.held_by_everybody());
        self.modes.visible(self.has_users()).or_in(granted)
    }
}

/// The names in the scopes of some roles, each of which includes pulling.
fn pullable<'a>(held: impl IntoIterator<Item = &'a Held>) -> impl Iterator<Item = NameRange> {
    held.into_iter().map(|(scope, _)| scope.into())
}
