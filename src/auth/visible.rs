//! Which repositories lists show to a caller: those that [`Rights`] allows it to pull, as ranges that a store can search.

use super::bearer::{Bearer, Holder, User};
use super::caller::Caller;
use super::directory::Held;
use super::door::Door;
use super::rights::Rights;
use super::scope::{Action, Grant, Wanted};
use crate::metadata::{NameRange, Visible};
use crate::oci::RepoName;

impl Door {
    /// The repositories that a caller may pull.
    pub fn visible(&self, caller: &Caller) -> Visible {
        self.with_rights(|rights| rights.visible(caller))
    }

    /// The same, be it with another token of ours: one for the catalog names no repository.
    pub fn visible_in_catalog(&self, caller: &Caller) -> Visible {
        let Caller::Bearer(bearer) = caller else { return self.visible(caller) };
        match &bearer.of {
            Holder::Outsider(_) => self.visible(caller),
            // It came of an access token, and none is good for more than that.
            Holder::User(User { by: Some(id), .. }) => match self.access_token(id) {
                Some(token) => self.visible(&Caller::Token(token)),
                None => Visible::default(),
            },
            holder => self.with_rights(|rights| rights.visible_to_holder(holder)),
        }
    }
}

impl Rights<'_> {
    fn visible(&self, caller: &Caller) -> Visible {
        match caller {
            Caller::Machine => Visible::all(),
            Caller::Stranger => self.visible_to_everybody(),
            Caller::User(user) => self.visible_to_user(&user.name),
            Caller::Token(token) => self.visible_to_user(&token.account).within(&(&token.scope).into()),
            Caller::Visitor(visitor) => self.visible_to_everybody().or_in(pullable(&visitor.held)),
            Caller::Bearer(bearer) => self.visible_to_bearer(caller, bearer),
        }
    }

    fn visible_to_bearer(&self, caller: &Caller, bearer: &Bearer) -> Visible {
        let names = bearer.grants.iter().filter_map(Grant::pullable);
        let allowed = names.filter(|name| self.allow(caller, Wanted::Repository(name, Action::Pull)));
        Visible::from_ranges(allowed.map(|name: RepoName| NameRange::name(name.as_str())))
    }

    fn visible_to_holder(&self, holder: &Holder) -> Visible {
        match holder {
            Holder::Nobody => self.visible_to_everybody(),
            Holder::User(user) => self.visible_to_user(&user.name),
            Holder::Visitor(visitor) => self.visible_to_everybody().or_in(pullable(&visitor.held)),
            Holder::Outsider(_) => Visible::default(),
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
