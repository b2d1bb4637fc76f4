//! What somebody wants to do, and what a token is good for: Docker's scopes
//! (<https://distribution.github.io/distribution/spec/auth/scope/>).

use serde::{Deserialize, Serialize};

use crate::metadata::{Role, Scope};
use crate::oci::RepoName;

/// What is done to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reading it.
    Pull,
    /// Writing to it.
    Push,
    /// Taking something away.
    Delete,
    /// What its administrators do. No token that clients get by themselves is good for that.
    Administer,
}

impl Action {
    /// What scopes have words for.
    const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// The least role that may do it.
    pub fn role(self) -> Role {
        match self {
            Self::Pull => Role::Pull,
            Self::Push => Role::Push,
            Self::Delete => Role::Delete,
            Self::Administer => Role::Admin,
        }
    }

    fn name(self) -> &'static str {
        self.role().name()
    }
}

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission<'a> {
    /// To do something to a repository.
    Repository(&'a RepoName, Action),
    /// To push to the first of these what the second has.
    Mount(&'a RepoName, &'a RepoName),
    /// To do something to whatever a scope means: of all, that is what is the operator's.
    Scope(&'a Scope, Action),
    /// The names of the repositories that it may pull.
    Catalog,
    /// To know whether this is a registry that it may use.
    Registry,
    /// Anything else: what tells nothing of any repository, and paths that make no sense.
    Other,
}

impl Permission<'_> {
    /// Whether something holds of all that it takes: a mount is a push there, and a pull from where the blob is.
    pub(super) fn all(self, holds: impl Fn(Self) -> bool) -> bool {
        match self {
            Self::Mount(to, from) => {
                holds(Self::Repository(to, Action::Push)) && holds(Self::Repository(from, Action::Pull))
            }
            one => holds(one),
        }
    }

    /// The scope of a token that would do, as a challenge names it. Whoever pushes reads too, and whoever
    /// deletes looks first.
    pub fn scope(self) -> Option<String> {
        match self {
            Self::Repository(name, Action::Pull) => Some(format!("repository:{name}:pull")),
            Self::Repository(name, Action::Push) => Some(format!("repository:{name}:pull,push")),
            Self::Repository(name, Action::Delete | Action::Administer) => {
                Some(format!("repository:{name}:pull,delete"))
            }
            Self::Mount(to, from) => Some(format!("repository:{to}:pull,push repository:{from}:pull")),
            Self::Catalog => Some("registry:catalog:*".into()),
            Self::Scope(..) | Self::Registry | Self::Other => None,
        }
    }
}

/// What a token is good for, as it carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl Grant {
    /// What a scope asks for; `None` for what there is not here.
    pub(super) fn asked(scope: &str) -> Option<Self> {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let actions: Vec<_> = actions.split(',').collect();
        let asks = |action: &str| actions.contains(&action) || actions.contains(&"*");
        match kind {
            "repository" => {
                let name: RepoName = name.parse().ok()?;
                let actions = Action::ALL.map(Action::name).into_iter().filter(|action| asks(action));
                Some(Self::of(kind, name.as_str(), actions.map(str::to_owned).collect()))
            }
            "registry" if name == "catalog" && asks("*") => Some(Self::of(kind, name, vec!["*".into()])),
            _ => None,
        }
    }

    fn of(kind: &str, name: &str, actions: Vec<String>) -> Self {
        Self { kind: kind.into(), name: name.into(), actions }
    }

    /// The same as far as `allowed` goes; `None` if nothing is left.
    pub(super) fn within(mut self, allowed: impl Fn(Permission<'_>) -> bool) -> Option<Self> {
        let name = self.name.parse::<RepoName>();
        let is_repository = self.kind == "repository";
        self.actions.retain(|action| match (is_repository, &name) {
            (true, Ok(name)) => {
                let known = Action::ALL.into_iter().find(|known| known.name() == action);
                known.is_some_and(|action| allowed(Permission::Repository(name, action)))
            }
            (true, Err(_)) => false,
            (false, _) => allowed(Permission::Catalog),
        });
        (!self.actions.is_empty()).then_some(self)
    }

    /// The repository that it is good for pulling from.
    pub(super) fn pullable(&self) -> Option<RepoName> {
        let name = self.name.parse::<RepoName>().ok()?;
        self.covers(Permission::Repository(&name, Action::Pull)).then_some(name)
    }

    /// Whether it is good for this.
    pub(super) fn covers(&self, permission: Permission<'_>) -> bool {
        match permission {
            Permission::Repository(name, action) => {
                self.kind == "repository"
                    && self.name == name.as_str()
                    && self.actions.iter().any(|known| known == action.name())
            }
            Permission::Catalog => self.kind == "registry" && self.name == "catalog",
            Permission::Mount(..) | Permission::Scope(..) | Permission::Registry | Permission::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> RepoName {
        name.parse().expect("a name")
    }

    #[test]
    fn a_scope_is_good_for_what_it_names_and_nothing_else() {
        let grant = Grant::asked("repository:team/app:pull,push").expect("a scope");
        let app = name("team/app");
        assert!(grant.covers(Permission::Repository(&app, Action::Pull)));
        assert!(grant.covers(Permission::Repository(&app, Action::Push)));
        assert!(!grant.covers(Permission::Repository(&app, Action::Delete)));
        for other in ["team/ap", "team/app/x", "team"] {
            assert!(!grant.covers(Permission::Repository(&name(other), Action::Pull)));
        }
        for permission in [Permission::Catalog, Permission::Registry, Permission::Other] {
            assert!(!grant.covers(permission));
        }
    }

    #[test]
    fn a_star_is_everything_that_there_is() {
        let grant = Grant::asked("repository:app:*").expect("a scope");
        assert!(
            Action::ALL.into_iter().all(|action| grant.covers(Permission::Repository(&name("app"), action)))
        );
        assert!(Grant::asked("registry:catalog:*").expect("a scope").covers(Permission::Catalog));
    }

    #[test]
    fn what_there_is_not_is_no_scope() {
        for scope in [
            "",
            ":",
            "::",
            "repository",
            "repository:app",
            "repository:Not A Name:pull",
            "repository:*:pull",
            "registry:catalog:pull",
            "registry:*:*",
            "registry:other:*",
            "other:app:pull",
            "repository:../x:pull",
        ] {
            assert_eq!(Grant::asked(scope), None, "{scope}");
        }
        let nothing = Grant::asked("repository:app:fly").expect("a scope");
        assert_eq!(nothing.within(|_| true), None);
    }

    #[test]
    fn a_grant_shrinks_to_what_is_allowed() {
        let grant = Grant::asked("repository:app:pull,push").expect("a scope");
        let pull = grant
            .within(|permission| matches!(permission, Permission::Repository(_, Action::Pull)))
            .expect("left");
        assert_eq!(Some(pull), Grant::asked("repository:app:pull"));
        let catalog = Grant::asked("registry:catalog:*").expect("a scope");
        assert_eq!(catalog.within(|_| false), None);
    }

    #[test]
    fn a_challenge_names_a_scope_that_would_do() {
        let app = name("app");
        for action in Action::ALL {
            let permission = Permission::Repository(&app, action);
            assert!(Grant::asked(&permission.scope().expect("a scope")).expect("a grant").covers(permission));
        }
        let mount = Permission::Mount(&app, &name("other")).scope().expect("a scope");
        let grants: Vec<_> = mount.split(' ').filter_map(Grant::asked).collect();
        assert!(grants[0].covers(Permission::Repository(&app, Action::Push)));
        assert!(grants[1].covers(Permission::Repository(&name("other"), Action::Pull)));
        let catalog = Permission::Catalog.scope().expect("a scope");
        assert!(Grant::asked(&catalog).expect("a grant").covers(Permission::Catalog));
    }
}
