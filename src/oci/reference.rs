//! References to manifests: a tag or a digest.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{Digest, InvalidDigest};

/// The error for a text that is not a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a tag must have 1 to 128 letters, digits, '.', '_' or '-', and not begin with '.' or '-'")]
pub struct InvalidTag;

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// Returns the tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let mut bytes = text.bytes();
        let valid = bytes.next().is_some_and(word) && bytes.all(|b| word(b) || b == b'.' || b == b'-');
        if valid && text.len() <= 128 { Ok(Self(text.into())) } else { Err(InvalidTag) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tag or a digest, the spec's `<tag-or-digest>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A tag: refers to whatever the tag points at now.
    Tag(Tag),
    /// A digest: refers to exact content.
    Digest(Digest),
}

/// The error for a text that is neither a tag nor a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidReference {
    /// It contains a colon, so it was meant to be a digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// It contains no colon, so it was meant to be a tag.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        // Tags can't contain a colon, and every digest does.
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_the_grammar_of_tags() {
        for good in ["latest", "_", "1.0-rc.1", "A", &"x".repeat(128)] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        let too_long = "x".repeat(129);
        for bad in ["", ".a", "-a", "a b", "a/b", "a:b", "é", &too_long] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn colon_distinguishes_digests_from_tags() {
        assert!(matches!("latest".parse(), Ok(Reference::Tag(_))));
        assert!(matches!("sha256:12".parse::<Reference>(), Err(InvalidReference::Digest(_))));
        assert!(matches!("a@b".parse::<Reference>(), Err(InvalidReference::Tag(_))));
    }
}
