//! Which repositories are meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::oci::{InvalidName, RepoName};

/// One repository, all below a prefix, or all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Scope {
    /// All there are. Spelt as nothing.
    #[default]
    All,
    /// Those whose names begin so: with a slash at the end, so that `team/` is not `teamwork`.
    Below(String),
    /// This one.
    One(RepoName),
}

impl Scope {
    /// Whether a repository of this name is meant.
    pub fn holds(&self, name: &RepoName) -> bool {
        match self {
            Self::All => true,
            Self::Below(prefix) => name.as_str().starts_with(prefix.as_str()),
            Self::One(one) => one == name,
        }
    }

    /// Whether all that `other` means is meant.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (_, Self::All) => false,
            (Self::Below(prefix), Self::Below(deeper)) => deeper.starts_with(prefix),
            (scope, Self::One(name)) => scope.holds(name),
            (Self::One(_), Self::Below(_)) => false,
        }
    }

    /// Whether a repository could be meant by both.
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => true,
            (Self::One(name), scope) | (scope, Self::One(name)) => scope.holds(name),
            (Self::Below(one), Self::Below(other)) => one.starts_with(other) || other.starts_with(one),
        }
    }

    /// As it is spelt.
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => "",
            Self::Below(prefix) => prefix,
            Self::One(name) => name.as_str(),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.strip_suffix('/') {
            _ if text.is_empty() => Ok(Self::All),
            Some(above) => above.parse::<RepoName>().map(|_| Self::Below(text.to_owned())),
            None => text.parse().map(Self::One),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|error| {
            serde::de::Error::custom(format_args!(
                "{text:?} is no repository, nor a prefix with a slash at its end: {error}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_meet_where_one_is_within_the_other() {
        let meet = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| text.parse::<Scope>().expect("a scope"));
            assert_eq!(one.meets(&other), other.meets(&one));
            one.meets(&other)
        };
        assert!(meet("", "") && meet("", "team/") && meet("", "team"));
        assert!(meet("team/", "team/a/") && meet("team/", "team/a") && meet("team/a", "team/a"));
        assert!(!meet("team/", "other/") && !meet("team/", "team") && !meet("team/a/", "team/ab/"));
        assert!(!meet("team", "team/a"));
    }

    #[test]
    fn a_scope_contains_what_is_all_within_it() {
        let contains = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| text.parse::<Scope>().expect("a scope"));
            assert!(!one.contains(&other) || one.meets(&other));
            one.contains(&other)
        };
        assert!(contains("", "") && contains("", "team/") && contains("", "team"));
        assert!(contains("team/", "team/") && contains("team/", "team/a/") && contains("team/", "team/a"));
        assert!(contains("team/a", "team/a"));
        for (one, other) in [("team/", ""), ("team/a/", "team/"), ("team/a", "team/"), ("team", "team/")] {
            assert!(!contains(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_prefix_ends_in_a_slash() {
        let name = |text: &str| text.parse::<RepoName>().expect("a name");
        let scope = |text: &str| text.parse::<Scope>().expect("a scope");
        assert_eq!(scope(""), Scope::All);
        assert!(scope("").holds(&name("a")));
        assert!(scope("team/").holds(&name("team/app")) && !scope("team/").holds(&name("teamwork")));
        assert!(scope("team").holds(&name("team")) && !scope("team").holds(&name("team/app")));
        assert!("Team/".parse::<Scope>().is_err() && "/".parse::<Scope>().is_err());
        assert_eq!(scope("team/").to_string(), "team/");
    }
}
