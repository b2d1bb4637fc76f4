//! Roles, teams and grantees: their names, parsing and storage format. What they allow is decided in `auth`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::names::named;

/// The maximum length of the name of a user, an organisation or a team.
const MAX_NAME_LENGTH: usize = 64;

named! {
/// What a grantee may do with repositories. Each role includes the ones before it.
pub enum Role or UnknownRole {
    /// Reading.
    Pull = "pull",
    /// Pushing and moving tags.
    Push = "push",
    /// Deleting tags, manifests and blobs.
    Delete = "delete",
    /// Restoring, deleting whole repositories, and granting roles in the same scope.
    Admin = "admin",
}
}

/// The text is not the name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not a role: use pull, push, delete or admin")]
pub struct UnknownRole;

/// The text is not a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not a valid name: use 1 to 64 letters, digits and . _ - +, starting with a letter or digit")]
pub struct InvalidUserName;

/// Checks the name of a user, an organisation or a team.
///
/// # Errors
///
/// Fails if the name is empty, too long or has an invalid character.
pub fn check_name(name: &str) -> Result<(), InvalidUserName> {
    let first = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte));
    if first && rest && name.len() <= MAX_NAME_LENGTH { Ok(()) } else { Err(InvalidUserName) }
}

/// A team of an organisation, written `organisation/team`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Team {
    /// The organisation.
    pub organisation: String,
    /// Its name within the organisation.
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

/// A user or group that can be granted a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grantee {
    /// A user.
    User(String),
    /// All members of a team.
    Team(Team),
    /// Every authenticated user, written `@users`.
    Users,
    /// Everyone, including anonymous clients, written `@everybody`.
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
    fn grantees_round_trip_as_text() {
        for text in ["ann", "acme/devs", "@users", "@everybody", "A.b-c_d+e"] {
            assert_eq!(text.parse::<Grantee>().expect("a grantee").to_string(), text);
        }
        let long = "a".repeat(65);
        for text in ["", "@", "@all", "a/b/c", "/a", "a/", "-a", "a b", "a:b", "ä", &long] {
            assert!(text.parse::<Grantee>().is_err(), "{text}");
        }
    }

    #[test]
    fn roles_are_ordered_and_round_trip_as_text() {
        assert!(Role::ALL.is_sorted());
        assert!(Role::ALL.into_iter().all(|role| role.name().parse() == Ok(role)));
        assert_eq!("write".parse::<Role>(), Err(UnknownRole));
    }
}
