//! What is wrong with policies, or only odd, and where.

use std::fmt;

use thiserror::Error;

use super::compile::{MAX_POLICIES, MAX_RULES};
use super::matcher::{MAX_COMPILED_BYTES, MAX_PATTERN_BYTES, MAX_PATTERNS};

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this policy.
    Policy(String),
    /// In this rule.
    Rule {
        /// The policy's name.
        policy: String,
        /// The rule's name.
        rule: String,
    },
    /// In the so-many-th list of protected tags, counted from 1.
    Protected(usize),
    /// In the so-many-th list of immutable tags, counted from 1.
    Immutable(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(policy) => write!(f, "retention policy `{policy}`"),
            Self::Rule { policy, rule } => write!(f, "rule `{rule}` of retention policy `{policy}`"),
            Self::Protected(number) => write!(f, "protected tags, list {number}"),
            Self::Immutable(number) => write!(f, "immutable tags, list {number}"),
        }
    }
}

/// Why policies are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {mistake}")]
pub struct PolicyError {
    /// Where.
    pub place: Place,
    /// What.
    pub mistake: Mistake,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Mistake {
    /// No name.
    #[error("it needs a name")]
    Nameless,
    /// Two policies, or two rules of a policy, have one name.
    #[error("another one has this name")]
    SameName,
    /// There is no such preset.
    #[error("there is no preset {0:?}; there are {list}", list = super::PRESETS.map(|p| p.name).join(", "))]
    UnknownPreset(String),
    /// No glob.
    #[error("{key}: {pattern:?} is not a glob: {why}")]
    Glob {
        /// The selector.
        key: &'static str,
        /// What it says.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// No regular expression.
    #[error("{key}: {pattern:?} is not a regular expression: {why}")]
    Regex {
        /// The selector.
        key: &'static str,
        /// What it says.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// An expression or glob is too long.
    #[error("{key}: an expression or glob may have at most {MAX_PATTERN_BYTES} bytes, one has {bytes}")]
    LongPattern {
        /// The selector.
        key: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// An expression or glob compiles to too much.
    #[error("{key}: {pattern:?} is too large when compiled: it repeats too much, as with {{1000}}")]
    CompiledSize {
        /// The selector.
        key: &'static str,
        /// The start of what it says.
        pattern: String,
    },
    /// All expressions and globs together compile to too much.
    #[error(
        "{0}: with these, all expressions and globs together take more than {MAX_COMPILED_BYTES} bytes when compiled"
    )]
    CompiledSum(&'static str),
    /// Too many expressions and globs.
    #[error("there are more than {MAX_PATTERNS} expressions and globs up to here")]
    Patterns,
    /// Too many policies.
    #[error("there may be at most {MAX_POLICIES} retention policies")]
    Policies,
    /// Too many rules.
    #[error("there may be at most {MAX_RULES} rules in all retention policies together")]
    Rules,
    /// A list of expressions without any, or a group without a name.
    #[error("{0}: must not be empty")]
    Empty(&'static str),
    /// `per` has not exactly one capture group.
    #[error("per: must have one capture group (…), it has {0}")]
    Captures(usize),
    /// No span of time that makes sense.
    #[error(
        "{key}: must be a time with its unit, such as \"12h\" or \"30d\", above zero and below 100 years, not {text:?}"
    )]
    Span {
        /// The selector.
        key: &'static str,
        /// What it says.
        text: String,
    },
    /// Nothing can be older than the one and younger than the other.
    #[error("{what}_before ({before}) is not shorter than {what}_within ({within}): nothing can match")]
    EmptyWindow {
        /// `pushed` or `pulled`.
        what: &'static str,
        /// Older than this.
        before: String,
        /// Not older than this.
        within: String,
    },
    /// `newest = 0`, or `keep_history = 0`.
    #[error("{0}: must be at least 1")]
    Zero(&'static str),
    /// One setting needs another.
    #[error("{key} has a meaning beside {needs} only")]
    Without {
        /// What is there.
        key: &'static str,
        /// What is missing.
        needs: &'static str,
    },
    /// Untagged manifests have no tag to match.
    #[error("{0} cannot match what has no tag; take `untagged` and `orphaned` away, or make two rules")]
    TagOfUntagged(&'static str),
    /// `tagged = false` and nothing else.
    #[error("it judges neither tagged nor untagged nor orphaned: nothing can match")]
    Nothing,
    /// `when` does not go with the action.
    #[error(
        "when = {0:?} has no meaning for this action: expire rules may wait for pressure, keep rules may hold in calm"
    )]
    When(&'static str),
    /// `keep_history` on an expire rule.
    #[error("keep_history has a meaning for keep rules only")]
    HistoryOfExpiry,
    /// An expire rule that selects everything.
    #[error("it would empty every repository that it is for: give it a selector, or the policy a keep rule")]
    Empties,
}

/// Policies that are allowed and probably not what was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What.
    pub oddity: Oddity,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.oddity)
    }
}

/// What is odd.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Oddity {
    /// No rules.
    #[error("it has no rules, so it does nothing")]
    NoRules,
    /// A keep rule keeps all that this expire rule selects.
    #[error("the keep rule `{0}` keeps all that it selects, so it never expires anything")]
    Shadowed(String),
    /// An expire rule that selects everything, in a policy that keeps something.
    #[error("it expires everything that no rule keeps, as soon as it is pushed")]
    Everything,
    /// An expire rule for untagged manifests that leaves a push no time.
    #[error(
        "it expires untagged manifests at once, or what is attached to something that has not come yet; with pushed_before, a push has time to tag what it brings"
    )]
    Hasty,
    /// An expire rule for what is younger than an hour.
    #[error("{key}: {text} is less than an hour; `m` are minutes, `M` months")]
    Young {
        /// The selector.
        key: &'static str,
        /// The age as it was written.
        text: String,
    },
    /// A platform without a slash.
    #[error(
        "platforms: {0:?} matches none: they are written with their system, such as \"linux/amd64\", or `*` for any"
    )]
    Platform(String),
    /// A list of protected or immutable tags that says nothing.
    #[error("it names no repositories and no tags, so it is for all tags of all repositories")]
    AllTags,
    /// What it would do at once.
    #[error("with it every tag would go now in {0}")]
    Empties(String),
    /// `*` alone, for repositories.
    #[error("{key}: `*` is for names without a slash; `**` is for all")]
    Star {
        /// The selector.
        key: &'static str,
    },
}
