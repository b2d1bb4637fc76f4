//! What somebody may do, and who somebody is, as it is recorded and spelt.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::Scope;

/// The longest name of a user, an organisation or a team.
const LONGEST: usize = 64;

/// What somebody may do with repositories. Each includes those before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reading.
    Pull,
    /// Writing, and moving tags.
    Push,
    /// Taking away.
    Delete,
    /// Restoring, deleting whole repositories, and saying who else may do what there.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Pull, Self::Push, Self::Delete, Self::Admin];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is none of pull, push, delete and admin")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(UnknownRole)
    }
}

/// A role with where it holds, spelt `ROLE` or `ROLE:PREFIX/` or `ROLE:REPOSITORY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct May {
    /// What.
    pub role: Role,
    /// Where.
    pub scope: Scope,
}

impl fmt::Display for May {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::All => self.role.fmt(f),
            scope => write!(f, "{}:{scope}", self.role),
        }
    }
}

impl FromStr for May {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, scope) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self {
            role: role.parse().map_err(|error| format!("{role:?} {error}"))?,
            scope: scope.parse().map_err(|error| {
                format!("{scope:?} is no repository, nor a prefix with a slash at its end: {error}")
            })?,
        })
    }
}

/// A text that is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is no name: 1 to 64 letters, digits and . _ - + after a letter or digit")]
pub struct InvalidUserName;

/// Checks the name of a user, an organisation or a team.
///
/// # Errors
/// [`InvalidUserName`].
pub fn check_name(name: &str) -> Result<(), InvalidUserName> {
    let first = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte));
    if first && rest && name.len() <= LONGEST { Ok(()) } else { Err(InvalidUserName) }
}

/// A team of an organisation. Spelt `organisation/team`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Team {
    /// Whose.
    pub organisation: String,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organisation, self.name)
    }
}

impl FromStr for Team {
    type Err = InvalidUserName;

    fn from_str(text: &str) -> Result<Self, InvalidUserName> {
        let (organisation, name) = text.split_once('/').ok_or(InvalidUserName)?;
        check_name(organisation).and(check_name(name))?;
        Ok(Self { organisation: organisation.to_owned(), name: name.to_owned() })
    }
}

/// Whom a role is given to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grantee {
    /// A user.
    User(String),
    /// All of a team.
    Team(Team),
    /// Whoever is a user. Spelt `@users`.
    Users,
    /// Everybody, without a login. Spelt `@everybody`.
    Everybody,
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => f.write_str(name),
            Self::Team(team) => team.fmt(f),
            Self::Users => f.write_str("@users"),
            Self::Everybody => f.write_str("@everybody"),
        }
    }
}

impl FromStr for Grantee {
    type Err = InvalidUserName;

    fn from_str(text: &str) -> Result<Self, InvalidUserName> {
        match text {
            "@users" => Ok(Self::Users),
            "@everybody" => Ok(Self::Everybody),
            team if team.contains('/') => team.parse().map(Self::Team),
            user => check_name(user).map(|()| Self::User(user.to_owned())),
        }
    }
}

impl Serialize for Grantee {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Grantee {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|error| serde::de::Error::custom(format_args!("{text:?} {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_read_as_they_are_written() {
        for text in ["ann", "acme/devs", "@users", "@everybody", "A.b-c_d+e"] {
            assert_eq!(text.parse::<Grantee>().expect("a grantee").to_string(), text);
        }
        let long = "a".repeat(65);
        for text in ["", "@", "@all", "a/b/c", "/a", "a/", "-a", "a b", "a:b", "ä", &long] {
            assert!(text.parse::<Grantee>().is_err(), "{text}");
        }
    }

    #[test]
    fn roles_include_those_before() {
        assert!(Role::ALL.is_sorted());
        assert!(Role::ALL.into_iter().all(|role| role.name().parse() == Ok(role)));
        assert_eq!("write".parse::<Role>(), Err(UnknownRole));
    }
}
