//! The plan for one repository: what expires, what is kept, and why.

use std::sync::Arc;

use super::compiled::RuleLabel;
use crate::clock::Timestamp;
use crate::oci::{Digest, Tag};

/// The decisions on one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoPlan {
    /// When the plan was made.
    pub now: Timestamp,
    /// The decision on each tag, in the order of the snapshot.
    pub tags: Vec<Decision>,
    /// The decision on each manifest, in the order of the snapshot: what happens to it after all expired items of this
    /// plan are removed.
    pub manifests: Vec<Decision>,
}

/// The decision on a tag or a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is kept.
    Keep {
        /// All reasons to keep it; never empty.
        by: Vec<KeepReason>,
    },
    /// It expires.
    Expire(Expiry),
}

/// A reason to keep something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeepReason {
    /// A keep rule.
    Rule(Arc<RuleLabel>),
    /// A keep rule needs platforms or labels that are unknown.
    Unknown(Arc<RuleLabel>),
    /// No rule in force selects it.
    NoRule,
    /// It is a protected tag.
    Protected,
    /// It is an immutable tag.
    Immutable,
    /// It was adopted from another registry and is not released yet, or belongs to something that is not.
    Adopted,
    /// The tag's manifest is unknown.
    NoManifest,
    /// It is attached to this manifest, which is kept.
    Subject(Digest),
    /// This tag points at the manifest.
    Tag(Tag),
    /// This index lists the manifest.
    Index(Digest),
    /// This tag pointed at the manifest before, and the rule keeps the tag's history.
    History {
        /// The tag.
        tag: Tag,
        /// The rule.
        rule: Arc<RuleLabel>,
    },
}

/// Why something expires, and the times that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The rule that expires it. If it follows other items, the rule that expires the last of them.
    pub rule: Arc<RuleLabel>,
    /// How the rule applies to it.
    pub cause: Cause,
    /// When it was last pushed. For an untagged manifest, at least the time when it became unreferenced.
    pub pushed_at: Timestamp,
    /// When it or something that belongs to it was last pulled; `None` if never.
    pub pulled_at: Option<Timestamp>,
    /// The last pull or push of the item the rule selected. Within a rule, the least recently used expires first.
    pub used_at: Timestamp,
}

/// How a rule applies to something that expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The rule selected it.
    Rule,
    /// The last of the manifest's tags expires.
    Tags,
    /// The last index that lists it expires: this one.
    Index(Digest),
    /// The manifest it is attached to expires.
    Subject(Digest),
}

/// The target of a step, as an index into the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepTarget {
    /// An index into the tags.
    Tag(usize),
    /// An index into the manifests.
    Manifest(usize),
}

impl Decision {
    /// Returns the expiry, if it expires.
    pub fn expiry(&self) -> Option<&Expiry> {
        match self {
            Self::Expire(expiry) => Some(expiry),
            Self::Keep { .. } => None,
        }
    }
}

impl RepoPlan {
    /// Returns the steps to apply, in order: rule by rule in the operator's order, within a rule the least recently
    /// used first, attached tags after the manifests they are attached to. Manifests that expire with their tags, index
    /// or subject have no step, because the last of these removes them too.
    pub fn steps(&self) -> Vec<(StepTarget, &Expiry)> {
        let tags = self.tags.iter().enumerate().map(|(place, tag)| (StepTarget::Tag(place), tag));
        let manifests = self.manifests.iter().enumerate().map(|(place, m)| (StepTarget::Manifest(place), m));
        let untagged = manifests.filter(|(_, m)| m.expiry().is_some_and(|e| e.cause == Cause::Rule));
        let mut steps: Vec<_> = tags.chain(untagged).filter_map(|(at, d)| Some((at, d.expiry()?))).collect();
        steps.sort_by_key(|(at, expiry)| {
            (expiry.rule.index, expiry.used_at, expiry.cause != Cause::Rule, *at)
        });
        steps
    }
}
