//! Roles in scopes, the permissions that requests need, and the grants that tokens carry as Docker's scopes
//! (<https://distribution.github.io/distribution/spec/auth/scope/>).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::metadata::{Role, Scope};
use crate::oci::RepoName;

/// A role in a scope, written `ROLE`, `ROLE:PREFIX/` or `ROLE:REPOSITORY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedRole {
    /// The role.
    pub role: Role,
    /// The repositories in which it applies.
    pub scope: Scope,
}

impl fmt::Display for ScopedRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::All => self.role.fmt(f),
            scope => write!(f, "{}:{scope}", self.role),
        }
    }
}

impl FromStr for ScopedRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, scope) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self {
            role: role.parse().map_err(|error| format!("{role:?} {error}"))?,
            scope: scope.parse().map_err(|error| {
                format!("{scope:?} is neither a repository nor a prefix that ends with a slash: {error}")
            })?,
        })
    }
}

/// An action on a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read from the repository.
    Pull,
    /// Write to the repository.
    Push,
    /// Delete tags and manifests.
    Delete,
    /// Administer the repository. Bearer tokens never allow this.
    Administer,
}

impl Action {
    /// The actions that scopes can name.
    const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// The lowest role that may perform the action.
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

/// A permission that a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission<'a> {
    /// An action on a repository.
    Repository(&'a RepoName, Action),
    /// Mount a blob into the first repository from the second.
    Mount(&'a RepoName, &'a RepoName),
    /// An action on everything in a scope. On the scope of the whole registry, this is the operator's permission.
    Scope(&'a Scope, Action),
    /// List the repositories that the principal may pull.
    Catalog,
    /// Use the registry at all (`GET /v2/`).
    Registry,
    /// Anything else: requests that reveal nothing about a repository, and unknown paths.
    Other,
}

impl Permission<'_> {
    /// Whether `is_allowed` is true for each part of this permission. A mount has two parts: push on the target and
    /// pull on the source. Any other permission has only itself.
    pub(super) fn all_parts_satisfy(self, is_allowed: impl Fn(Self) -> bool) -> bool {
        match self {
            Self::Mount(to, from) => {
                is_allowed(Self::Repository(to, Action::Push))
                    && is_allowed(Self::Repository(from, Action::Pull))
            }
            permission => is_allowed(permission),
        }
    }

    /// The scope of a sufficient token, as a challenge names it. Includes pull, because clients read before they push
    /// or delete.
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

/// A grant in a token: the actions that the token allows on one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grant {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl Grant {
    /// Parses a scope. `None` if it is malformed or names an unknown resource.
    pub(super) fn parse(scope: &str) -> Option<Self> {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let actions: Vec<_> = actions.split(',').collect();
        let is_requested = |action: &str| actions.contains(&action) || actions.contains(&"*");
        match kind {
            "repository" => {
                let name: RepoName = name.parse().ok()?;
                let actions = Action::ALL.map(Action::name).into_iter().filter(|action| is_requested(action));
                Some(Self::new(kind, name.as_str(), actions.map(str::to_owned).collect()))
            }
            "registry" if name == "catalog" && is_requested("*") => {
                Some(Self::new(kind, name, vec!["*".into()]))
            }
            _ => None,
        }
    }

    fn new(kind: &str, name: &str, actions: Vec<String>) -> Self {
        Self { kind: kind.into(), name: name.into(), actions }
    }

    /// Removes the actions that are not allowed. `None` if nothing is left.
    pub(super) fn restrict(mut self, is_allowed: impl Fn(Permission<'_>) -> bool) -> Option<Self> {
        let name = self.name.parse::<RepoName>();
        let is_repository = self.kind == "repository";
        self.actions.retain(|action| match (is_repository, &name) {
            (true, Ok(name)) => {
                let known = Action::ALL.into_iter().find(|known| known.name() == action);
                known.is_some_and(|action| is_allowed(Permission::Repository(name, action)))
            }
            (true, Err(_)) => false,
            (false, _) => is_allowed(Permission::Catalog),
        });
        (!self.actions.is_empty()).then_some(self)
    }

    /// The repository that this grant allows pulling from.
    pub(super) fn pullable_repository(&self) -> Option<RepoName> {
        let name = self.name.parse::<RepoName>().ok()?;
        self.covers(Permission::Repository(&name, Action::Pull)).then_some(name)
    }

    /// Whether the grant includes a permission.
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
    fn scope_covers_only_what_it_names() {
        let grant = Grant::parse("repository:team/app:pull,push").expect("a scope");
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
    fn star_covers_all_actions() {
        let grant = Grant::parse("repository:app:*").expect("a scope");
        assert!(
            Action::ALL.into_iter().all(|action| grant.covers(Permission::Repository(&name("app"), action)))
        );
        assert!(Grant::parse("registry:catalog:*").expect("a scope").covers(Permission::Catalog));
    }

    #[test]
    fn rejects_unknown_scopes() {
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
            assert_eq!(Grant::parse(scope), None, "{scope}");
        }
        let nothing = Grant::parse("repository:app:fly").expect("a scope");
        assert_eq!(nothing.restrict(|_| true), None);
    }

    #[test]
    fn restricts_grant_to_allowed_actions() {
        let grant = Grant::parse("repository:app:pull,push").expect("a scope");
        let pull = grant
            .restrict(|permission| matches!(permission, Permission::Repository(_, Action::Pull)))
            .expect("left");
        assert_eq!(Some(pull), Grant::parse("repository:app:pull"));
        let catalog = Grant::parse("registry:catalog:*").expect("a scope");
        assert_eq!(catalog.restrict(|_| false), None);
    }

    #[test]
    fn challenge_names_sufficient_scope() {
        let app = name("app");
        for action in Action::ALL {
            let permission = Permission::Repository(&app, action);
            assert!(Grant::parse(&permission.scope().expect("a scope")).expect("a grant").covers(permission));
        }
        let mount = Permission::Mount(&app, &name("other")).scope().expect("a scope");
        let grants: Vec<_> = mount.split(' ').filter_map(Grant::parse).collect();
        assert!(grants[0].covers(Permission::Repository(&app, Action::Push)));
        assert!(grants[1].covers(Permission::Repository(&name("other"), Action::Pull)));
        let catalog = Permission::Catalog.scope().expect("a scope");
        assert!(Grant::parse(&catalog).expect("a grant").covers(Permission::Catalog));
    }
}
