//! Scopes: one repository, all repositories below a prefix, or all repositories.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::oci::{InvalidName, RepoName};

/// One repository, all repositories below a prefix, or all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Scope {
    /// All repositories. Written as the empty string.
    #[default]
    All,
    /// Repositories whose names start with this prefix. It ends with a slash, so that `team/` does not include
    /// `teamwork`.
    Below(String),
    /// A single repository.
    One(RepoName),
}

impl Scope {
    /// Returns whether the scope includes a repository.
    pub fn includes(&self, name: &RepoName) -> bool {
        match self {
            Self::All => true,
            Self::Below(prefix) => name.as_str().starts_with(prefix.as_str()),
            Self::One(one) => one == name,
        }
    }

    /// Returns whether the scope includes everything that `other` includes.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (_, Self::All) => false,
            (Self::Below(prefix), Self::Below(deeper)) => deeper.starts_with(prefix),
            (scope, Self::One(name)) => scope.includes(name),
            (Self::One(_), Self::Below(_)) => false,
        }
    }

    /// Returns whether a repository can be in both scopes.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => true,
            (Self::One(name), scope) | (scope, Self::One(name)) => scope.includes(name),
            (Self::Below(one), Self::Below(other)) => one.starts_with(other) || other.starts_with(one),
        }
    }

    /// Returns the scope as text.
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
                "{text:?} is neither a repository nor a prefix that ends with a slash: {error}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_overlap_if_one_contains_the_other() {
        let overlap = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| text.parse::<Scope>().expect("a scope"));
            assert_eq!(one.overlaps(&other), other.overlaps(&one));
            one.overlaps(&other)
        };
        assert!(overlap("", "") && overlap("", "team/") && overlap("", "team"));
        assert!(overlap("team/", "team/a/") && overlap("team/", "team/a") && overlap("team/a", "team/a"));
        assert!(!overlap("team/", "other/") && !overlap("team/", "team") && !overlap("team/a/", "team/ab/"));
        assert!(!overlap("team", "team/a"));
    }

    #[test]
    fn scope_contains_narrower_scopes() {
        let contains = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| text.parse::<Scope>().expect("a scope"));
            assert!(!one.contains(&other) || one.overlaps(&other));
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
    fn prefix_ends_with_slash() {
        let name = |text: &str| text.parse::<RepoName>().expect("a name");
        let scope = |text: &str| text.parse::<Scope>().expect("a scope");
        assert_eq!(scope(""), Scope::All);
        assert!(scope("").includes(&name("a")));
        assert!(scope("team/").includes(&name("team/app")) && !scope("team/").includes(&name("teamwork")));
        assert!(scope("team").includes(&name("team")) && !scope("team").includes(&name("team/app")));
        assert!("Team/".parse::<Scope>().is_err() && "/".parse::<Scope>().is_err());
        assert_eq!(scope("team/").to_string(), "team/");
    }
}
