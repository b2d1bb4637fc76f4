//! The selectors of a rule, apart from the count.

use std::collections::BTreeMap;
use std::time::Duration;

use super::globs::Globs;
use super::item::{Item, Kind};
use super::matcher::Matcher;
use super::policy::Action;
use super::snapshot::ManifestFacts;
use crate::clock::Timestamp;

/// Whether an item is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    /// A detail that the rule needs is unknown.
    Unknown,
}

/// The selectors of a rule. All must match.
#[derive(Debug, Clone)]
pub(super) struct Selectors {
    pub(super) tags: Option<Globs>,
    pub(super) tag_regex: Option<Matcher>,
    pub(super) except_regex: Option<Matcher>,
    pub(super) pushed: Window,
    pub(super) pulled: Window,
    pub(super) artifact_types: Option<Globs>,
    pub(super) platforms: Option<Globs>,
    pub(super) annotations: Vec<(String, Globs)>,
    pub(super) labels: Vec<(String, Globs)>,
}

/// A window of ages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    pub(super) before: Option<Duration>,
    pub(super) within: Option<Duration>,
}

/// The kinds of items a rule applies to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kinds {
    pub(super) tagged: bool,
    pub(super) untagged: bool,
    pub(super) orphaned: bool,
}

impl Kinds {
    pub(super) fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Tagged => self.tagged,
            Kind::Untagged => self.untagged,
            Kind::Orphaned => self.orphaned,
        }
    }
}

impl Selectors {
    /// Whether all selectors match. The cheap ones are checked first.
    pub(super) fn evaluate(&self, item: &Item<'_>, action: Action, now: Timestamp) -> Match {
        if !self.matches_times(item, now) || !self.matches_name(item) {
            return Match::No;
        }
        let facts = item.facts;
        let details = [
            self.matches_type(facts),
            has_values(&self.annotations, facts.annotations.as_ref()),
            self.matches_platform(facts.platforms.as_deref(), action),
            has_values(&self.labels, facts.labels.as_ref()),
        ];
        if details.contains(&Match::No) {
            Match::No
        } else if details.contains(&Match::Unknown) {
            Match::Unknown
        } else {
            Match::Yes
        }
    }

    fn matches_type(&self, facts: &ManifestFacts) -> Match {
        match (&self.artifact_types, &facts.artifact_type) {
            (None, _) => Match::Yes,
            (Some(globs), Some(artifact_type)) if globs.matches(artifact_type) => Match::Yes,
            (Some(_), None) if facts.has_unknown_artifact_type => Match::Unknown,
            (Some(_), _) => Match::No,
        }
    }

    fn matches_times(&self, item: &Item<'_>, now: Timestamp) -> bool {
        let older = |time: Timestamp, span: Duration| time < now.minus(span);
        self.pushed.before.is_none_or(|span| older(item.pushed_at, span))
            && self.pushed.within.is_none_or(|span| !older(item.pushed_at, span))
            && self.pulled.before.is_none_or(|span| older(item.used_at(), span))
            && self.pulled.within.is_none_or(|span| item.pulled_at.is_some_and(|time| !older(time, span)))
    }

    /// Whether the tag selectors match.
    pub(super) fn matches_name(&self, item: &Item<'_>) -> bool {
        let is = |test: &dyn Fn(&str) -> bool| item.tag().is_some_and(test);
        self.tags.as_ref().is_none_or(|globs| is(&|tag| globs.matches(tag)))
            && self.tag_regex.as_ref().is_none_or(|regex| is(&|tag| regex.is_match(tag)))
            && self.except_regex.as_ref().is_none_or(|regex| is(&|tag| !regex.is_match(tag)))
    }

    /// One matching platform is enough to keep an image. An image expires only if all its platforms match.
    fn matches_platform(&self, platforms: Option<&[String]>, action: Action) -> Match {
        let Some(globs) = &self.platforms else {
            return Match::Yes;
        };
        let Some(platforms) = platforms else {
            return Match::Unknown;
        };
        // BuildKit's attestations have the platform `unknown/unknown`, which does not count.
        let mut real = platforms.iter().filter(|platform| *platform != "unknown/unknown").peekable();
        let has_some = real.peek().is_some();
        let matches = match action {
            Action::Keep => real.any(|platform| globs.matches(platform)),
            Action::Expire => has_some && real.all(|platform| globs.matches(platform)),
        };
        if matches { Match::Yes } else { Match::No }
    }
}

/// Whether labels or annotations have all the required values.
fn has_values(required: &[(String, Globs)], values: Option<&BTreeMap<String, String>>) -> Match {
    if required.is_empty() {
        return Match::Yes;
    }
    let Some(values) = values else {
        return Match::Unknown;
    };
    let has = |(key, globs): &(String, Globs)| values.get(key).is_some_and(|value| globs.matches(value));
    if required.iter().all(has) { Match::Yes } else { Match::No }
}
