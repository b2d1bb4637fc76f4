//! What would go and what would stay, and why.

use std::sync::Arc;

use super::compiled::RuleLabel;
use crate::clock::Timestamp;
use crate::oci::{Digest, Tag};

/// The decisions on one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoPlan {
    /// When it was made.
    pub now: Timestamp,
    /// One for each tag, in the snapshot's order.
    pub tags: Vec<Decision>,
    /// One for each manifest, in the snapshot's order: what becomes of it once all that this plan lets go
    /// has gone.
    pub manifests: Vec<Decision>,
}

/// What becomes of a tag or a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It stays.
    Keep {
        /// All that keeps it; never empty.
        by: Vec<KeepReason>,
    },
    /// It goes.
    Expire(Expiry),
}

/// What keeps something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeepReason {
    /// A keep rule.
    Rule(Arc<RuleLabel>),
    /// A keep rule asks for platforms or labels that are not known.
    Unknown(Arc<RuleLabel>),
    /// No rule in force names it.
    Unnamed,
    /// It is a protected tag.
    Protected,
    /// It is an immutable tag.
    Immutable,
    /// The tag's manifest is not known.
    NoManifest,
    /// It is attached to this manifest, which stays.
    Subject(Digest),
    /// This tag points at the manifest.
    Tag(Tag),
    /// This index has it as a child.
    Index(Digest),
    /// It was what this tag pointed at, and the rule keeps the tag's past.
    History {
        /// Which tag.
        tag: Tag,
        /// By which rule.
        rule: Arc<RuleLabel>,
    },
}

/// Why and when something goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The rule that says so. For what follows something else, the rule by which the last of that goes.
    pub rule: Arc<RuleLabel>,
    /// How the rule reaches it.
    pub cause: Cause,
    /// When it was last pushed; for an untagged manifest not before nothing held it any more.
    pub pushed_at: Timestamp,
    /// When it or what belongs to it was last pulled. `None`: never.
    pub pulled_at: Option<Timestamp>,
    /// The last pull or push of what the rule judged. Within a rule the least recent goes first.
    pub used_at: Timestamp,
}

/// How a rule reaches what goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The rule judged it.
    Rule,
    /// The last of the manifest's tags goes.
    Tags,
    /// The last index that has it goes, this one.
    Index(Digest),
    /// What it is attached to goes.
    Subject(Digest),
}

/// What a step is on, as its place in the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepTarget {
    /// Among the tags.
    Tag(usize),
    /// Among the manifests.
    Manifest(usize),
}

impl Decision {
    /// The expiry, if it goes.
    pub fn expiry(&self) -> Option<&Expiry> {
        match self {
            Self::Expire(expiry) => Some(expiry),
            Self::Keep { .. } => None,
        }
    }
}

impl RepoPlan {
    /// What is to be expired, in the order in which to do it: rule by rule in the operator's order, within a
    /// rule least recently used first, attached tags behind what they are attached to. Manifests that go
    /// because their tags, index or subject go are left out: the last of those takes them along.
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
