//! Repository names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// The maximum length of a name: clients allow 255 characters including a host.
const MAX_LEN: usize = 255;

/// The error for a text that is not a repository name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a repository name must consist of lower-case letters and digits, separated by '.', '_', '__', dashes \
     or '/', and have at most 255 characters"
)]
pub struct InvalidName;

/// The name of a repository, the spec's `<name>`:
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoName(Arc<str>);

impl RepoName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepoName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.len() > MAX_LEN || !text.split('/').all(is_component) {
            return Err(InvalidName);
        }
        Ok(Self(text.into()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|b| alphanumeric(**b)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|b| !alphanumeric(**b)).count();
        if !is_separator(&rest[..separator]) {
            return false;
        }
        rest = &rest[separator..];
    }
}

fn is_separator(bytes: &[u8]) -> bool {
    matches!(bytes, b"." | b"_" | b"__") || bytes.iter().all(|b| *b == b'-')
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_the_grammar_of_names() {
        for good in ["a", "library/ubuntu", "a.b_c__d---e/f0", &"a".repeat(255)] {
            assert!(good.parse::<RepoName>().is_ok(), "{good}");
        }
        let too_long = "a".repeat(256);
        for bad in
            ["", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "-a", "a-", "a._b", "ä", "a b", &too_long]
        {
            assert!(bad.parse::<RepoName>().is_err(), "{bad}");
        }
    }
}
