//! Applies the rules to each item.

use std::collections::HashSet;
use std::sync::Arc;

use super::compiled::{CompiledPolicies, CompiledRule, RuleLabel};
use super::item::Item;
use super::plan::KeepReason;
use super::policy::{Action, Final};
use super::selectors::Match;
use crate::clock::Timestamp;
use crate::oci::RepoName;

/// The result of the rules for one item. Keep always wins, and an item that no rule selects is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict {
    pub(super) keeps: Vec<KeepReason>,
    /// The first rule that expires it.
    pub(super) expires: Option<Arc<RuleLabel>>,
    /// How many earlier versions of the tag are kept, and by which rule.
    pub(super) history: Option<(usize, Arc<RuleLabel>)>,
}

impl Verdict {
    /// Returns the rule by which the item expires, if it does.
    pub(super) fn expiry(&self) -> Option<&Arc<RuleLabel>> {
        if self.keeps.is_empty() { self.expires.as_ref() } else { None }
    }

    fn keep(&mut self, rule: &CompiledRule, known: bool) {
        let label = Arc::clone(&rule.label);
        if rule.keep_history > self.history.as_ref().map_or(0, |(depth, _)| *depth) {
            self.history = Some((rule.keep_history, Arc::clone(&label)));
        }
        self.keeps.push(if known { KeepReason::Rule(label) } else { KeepReason::Unknown(label) });
    }
}

/// Applies each rule in turn to `items`.
pub(super) fn apply_rules(
    items: &[Item<'_>],
    policies: &CompiledPolicies,
    repo: &RepoName,
    now: Timestamp,
    pressure: bool,
) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::default(); items.len()];
    for policy in policies.policies_for(repo) {
        let mut settled = Settled::default();
        for rule in policy.rules_for(repo, pressure) {
            apply(items, rule, select(items, rule, now, &settled), &mut verdicts);
            settled.add(items, rule);
        }
    }
    for verdict in &mut verdicts {
        if verdict.keeps.is_empty() && verdict.expires.is_none() {
            verdict.keeps.push(KeepReason::NoRule);
        }
    }
    verdicts
}

/// The items a rule selects, and those it may select because details are unknown, as indexes.
#[derive(Debug, Default)]
struct Selection {
    yes: Vec<usize>,
    unknown: Vec<usize>,
}

fn select(items: &[Item<'_>], rule: &CompiledRule, now: Timestamp, settled: &Settled) -> Selection {
    let mut selection = Selection::default();
    for (place, item) in items.iter().enumerate() {
        if !rule.kinds.has(item.kind) || settled.has(place, item) {
            continue;
        }
        match rule.selectors.evaluate(item, rule.action, now) {
            Match::Yes => selection.yes.push(place),
            Match::Unknown => selection.unknown.push(place),
            Match::No => {}
        }
    }
    selection
}

fn apply(items: &[Item<'_>], rule: &CompiledRule, selection: Selection, verdicts: &mut [Verdict]) {
    let Selection { yes, unknown } = selection;
    match rule.action {
        Action::Keep => {
            let kept = match &rule.newest {
                None => yes,
                Some(newest) => newest.split(items, &yes).newest,
            };
            kept.into_iter().for_each(|place| verdicts[place].keep(rule, true));
            // Unknown items are kept, but do not take the place of known ones among the newest.
            unknown.into_iter().for_each(|place| verdicts[place].keep(rule, false));
        }
        Action::Expire => {
            let expired = match &rule.newest {
                None => yes,
                Some(newest) => newest.split(items, &yes).older,
            };
            for place in expired {
                verdicts[place].expires.get_or_insert_with(|| Arc::clone(&rule.label));
            }
        }
    }
}

/// The items that final rules of a policy hide from later rules.
#[derive(Debug, Default)]
struct Settled {
    items: HashSet<usize>,
    /// All items of these manifests.
    images: HashSet<usize>,
}

impl Settled {
    fn has(&self, place: usize, item: &Item<'_>) -> bool {
        self.items.contains(&place) || self.images.contains(&item.manifest)
    }

    /// Adds the items `rule` matches by kind and name, if it is final.
    fn add(&mut self, items: &[Item<'_>], rule: &CompiledRule) {
        let Some(scope) = rule.final_for else {
            return;
        };
        for (place, item) in items.iter().enumerate() {
            if !rule.kinds.has(item.kind) || self.has(place, item) || !rule.selectors.matches_name(item) {
                continue;
            }
            match scope {
                Final::Tag => self.items.insert(place),
                Final::Image => self.images.insert(item.manifest),
            };
        }
    }
}
