//! Mistakes in policies and warnings about them, with the place where they are.

use std::fmt;

use thiserror::Error;

use super::limits::{MAX_COMPILED_BYTES, MAX_PATTERN_BYTES, MAX_PATTERNS, MAX_POLICIES, MAX_RULES};

/// The place of a mistake or a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A policy.
    Policy(String),
    /// A rule.
    Rule {
        /// The policy's name.
        policy: String,
        /// The rule's name.
        rule: String,
    },
    /// A list of protected tags, numbered from 1.
    Protected(usize),
    /// A list of immutable tags, numbered from 1.
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

/// The reason why policies are rejected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {mistake}")]
pub struct PolicyError {
    /// The place of the mistake.
    pub place: Place,
    /// The mistake.
    pub mistake: Mistake,
}

/// A mistake in a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Mistake {
    /// The name is missing.
    #[error("the name is missing")]
    Nameless,
    /// Two policies, or two rules of a policy, have the same name.
    #[error("the name is already used")]
    SameName,
    /// The preset does not exist.
    #[error("there is no preset {0:?}; there are {list}", list = super::PRESETS.map(|p| p.name).join(", "))]
    UnknownPreset(String),
    /// A glob is invalid.
    #[error("{key}: {pattern:?} is not a glob: {why}")]
    Glob {
        /// The selector.
        key: &'static str,
        /// The invalid glob.
        pattern: String,
        /// Why it is invalid.
        why: String,
    },
    /// A regular expression is invalid.
    #[error("{key}: {pattern:?} is not a regular expression: {why}")]
    Regex {
        /// The selector.
        key: &'static str,
        /// The invalid expression.
        pattern: String,
        /// Why it is invalid.
        why: String,
    },
    /// An expression or glob is too long.
    #[error("{key}: an expression or glob may have at most {MAX_PATTERN_BYTES} bytes, one has {bytes}")]
    LongPattern {
        /// The selector.
        key: &'static str,
        /// The length of the pattern.
        bytes: usize,
    },
    /// A compiled expression or glob is too large.
    #[error("{key}: {pattern:?} is too large when compiled; reduce repetitions such as {{1000}}")]
    CompiledSize {
        /// The selector.
        key: &'static str,
        /// The start of the pattern.
        pattern: String,
    },
    /// All compiled expressions and globs together are too large.
    #[error("{0}: all expressions and globs so far take more than {MAX_COMPILED_BYTES} bytes when compiled")]
    CompiledSum(&'static str),
    /// There are too many expressions and globs.
    #[error("there may be at most {MAX_PATTERNS} expressions and globs in all policies together")]
    Patterns,
    /// There are too many policies.
    #[error("there may be at most {MAX_POLICIES} retention policies")]
    Policies,
    /// There are too many rules.
    #[error("there may be at most {MAX_RULES} rules in all retention policies together")]
    Rules,
    /// A list of expressions or the name of a group is empty.
    #[error("{0}: must not be empty")]
    Empty(&'static str),
    /// `per` does not have exactly one capture group.
    #[error("per: must have exactly one capture group (…), not {0}")]
    Captures(usize),
    /// A time span is invalid.
    #[error(
        "{key}: must be a time with its unit, such as \"12h\" or \"30d\", above zero and below 100 years, not {text:?}"
    )]
    Span {
        /// The selector.
        key: &'static str,
        /// The invalid text.
        text: String,
    },
    /// No item can be older than one limit and younger than the other.
    #[error("nothing can match: {what}_before ({before}) is not shorter than {what}_within ({within})")]
    EmptyWindow {
        /// `pushed` or `pulled`.
        what: &'static str,
        /// The minimum age.
        before: String,
        /// The maximum age.
        within: String,
    },
    /// `newest = 0`, or `keep_history = 0`.
    #[error("{0}: must be at least 1")]
    Zero(&'static str),
    /// A setting requires another one.
    #[error("{key} requires {needs}")]
    Without {
        /// The setting that is there.
        key: &'static str,
        /// The setting that is missing.
        needs: &'static str,
    },
    /// A tag selector in a rule for untagged manifests, which have no tags.
    #[error(
        "{0} can't match untagged manifests; remove `untagged` and `orphaned`, or split the rule into two"
    )]
    TagOfUntagged(&'static str),
    /// The rule selects no kind of item: `tagged = false` and nothing else.
    #[error("nothing can match: it selects neither tagged nor untagged nor orphaned items")]
    Nothing,
    /// `when` does not fit the action.
    #[error(
        "when = {0:?} does not fit this action; expire rules allow \"pressure\", keep rules allow \"calm\""
    )]
    When(&'static str),
    /// An expire rule has `keep_history`.
    #[error("keep_history is for keep rules only")]
    HistoryOfExpiry,
    /// An expire rule selects everything.
    #[error(
        "it would empty every repository it applies to; add a selector to it, or a keep rule to the policy"
    )]
    Empties,
}

/// A warning about something that is allowed but probably not intended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The place.
    pub place: Place,
    /// What the warning is about.
    pub kind: WarningKind,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.kind)
    }
}

/// What a warning is about.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WarningKind {
    /// A policy has no rules.
    #[error("it has no rules, so it does nothing")]
    NoRules,
    /// A keep rule keeps everything this expire rule selects.
    #[error("the keep rule `{0}` keeps all items that it selects, so it never expires anything")]
    Shadowed(String),
    /// An expire rule selects everything, in a policy that keeps something.
    #[error("it expires everything that no rule keeps, as soon as it is pushed")]
    Everything,
    /// An expire rule for unreferenced manifests does not allow for pushes in progress.
    #[error(
        "it expires untagged manifests at once, even if their tag or subject is about to be pushed; \
         add pushed_before"
    )]
    Hasty,
    /// An expire rule has an age below one hour.
    #[error("{key}: {text} is less than an hour; `m` are minutes, `M` months")]
    Young {
        /// The selector.
        key: &'static str,
        /// The age as written.
        text: String,
    },
    /// A platform has no slash.
    #[error(
        "platforms: {0:?} matches no platform; write it with its system, such as \"linux/amd64\", \
         or `*` for any"
    )]
    Platform(String),
    /// A list of protected or immutable tags is empty.
    #[error("it names no repositories and no tags, so it applies to all tags of all repositories")]
    AllTags,
    /// The policy would leave repositories without tags.
    #[error("it would now expire every tag in {0}")]
    Empties(String),
    /// `*` alone, for repositories.
    #[error("{key}: `*` matches names without a slash only; `**` matches all")]
    Star {
        /// The selector.
        key: &'static str,
    },
}
