//! Explains decisions in words, for reports and logs.

use std::fmt;
use std::time::Duration;

use super::compiled::RuleLabel;
use super::plan::{Cause, Decision, Expiry, KeepReason};
use crate::clock::Timestamp;
use crate::oci::Digest;

/// A decision in words, made by [`Decision::explain`].
#[derive(Debug, Clone, Copy)]
pub struct Explanation<'a> {
    decision: &'a Decision,
    now: Timestamp,
}

impl Decision {
    /// Explains the decision in words, with ages as of `now`.
    pub fn explain(&self, now: Timestamp) -> Explanation<'_> {
        Explanation { decision: self, now }
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decision {
            Decision::Expire(expiry) => explain_expiry(f, expiry, self.now),
            Decision::Keep { by } => explain_keep(f, by),
        }
    }
}

fn explain_expiry(f: &mut fmt::Formatter<'_>, expiry: &Expiry, now: Timestamp) -> fmt::Result {
    write!(f, "expired by {}", expiry.rule)?;
    match &expiry.cause {
        Cause::Rule => {}
        Cause::Tags => f.write_str(" with the last of its tags")?,
        Cause::Index(digest) => write!(f, " with its index {}", Short(digest))?,
        Cause::Subject(digest) => write!(f, " with {}, which it is attached to", Short(digest))?,
    }
    write!(f, ": pushed {} ago, ", Age(now.since(expiry.pushed_at)))?;
    match expiry.pulled_at {
        Some(pulled) => write!(f, "pulled {} ago", Age(now.since(pulled))),
        None => f.write_str("never pulled"),
    }
}

/// The maximum number of reasons listed: a manifest may have thousands of tags.
const MAX_REASONS: usize = 3;

fn explain_keep(f: &mut fmt::Formatter<'_>, by: &[KeepReason]) -> fmt::Result {
    f.write_str("kept")?;
    for (number, reason) in by.iter().take(MAX_REASONS).enumerate() {
        write!(f, "{} {reason}", if number == 0 { ":" } else { "," })?;
    }
    match by.len().saturating_sub(MAX_REASONS) {
        0 => Ok(()),
        more => write!(f, ", and {more} more"),
    }
}

impl fmt::Display for RuleLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule `{}` of policy `{}`", self.rule, self.policy)
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(f),
            Self::Unknown(rule) => write!(f, "{rule} needs details that are unknown"),
            Self::NoRule => f.write_str("no rule selects it"),
            Self::Protected => f.write_str("protected tag"),
            Self::Immutable => f.write_str("immutable tag"),
            Self::Adopted => f.write_str("adopted, not released yet"),
            Self::NoManifest => f.write_str("its manifest is unknown"),
            Self::Subject(digest) => write!(f, "attached to {}", Short(digest)),
            Self::Tag(tag) => write!(f, "tag `{tag}`"),
            Self::Index(digest) => write!(f, "child of {}", Short(digest)),
            Self::History { tag, rule } => write!(f, "history of tag `{tag}` by {rule}"),
        }
    }
}

/// The beginning of a digest, enough to tell digests apart for people.
struct Short<'a>(&'a Digest);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.0.hex();
        write!(f, "{}:{}", self.0.algorithm(), hex.get(..12).unwrap_or(hex))
    }
}

/// An age in its largest unit.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{seconds}s"),
            60..3600 => write!(f, "{}min", seconds / 60),
            3600..86_400 => write!(f, "{}h", seconds / 3600),
            _ => write!(f, "{}d", seconds / 86_400),
        }
    }
}
