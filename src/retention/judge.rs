//! What the rules say of each item by itself.

use std::collections::HashSet;
use std::sync::Arc;

use super::compiled::{Compiled, CompiledRule, RuleLabel};
use super::item::Item;
use super::plan::KeepReason;
use super::policy::{Action, Final};
use super::selectors::Match;
use crate::clock::Timestamp;
use crate::oci::RepoName;

/// What the rules say of one item. Keep always wins; what no rule names is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict {
    pub(super) keeps: Vec<KeepReason>,
    /// The first rule that lets it go.
    pub(super) expires: Option<Arc<RuleLabel>>,
    /// How much of its past is kept, and by which rule.
    pub(super) history: Option<(usize, Arc<RuleLabel>)>,
}

impl Verdict {
    /// The rule by which it goes, if it goes.
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

/// Judges `items` by each rule in turn.
pub(super) fn judge(
    items: &[Item<'_>],
    policies: &Compiled,
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
            verdict.keeps.push(KeepReason::Unnamed);
        }
    }
    verdicts
}

/// What a rule selects, and what it may select for all that is known: as places among the items.
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
        match rule.selectors.judge(item, rule.action, now) {
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
            // Unknown means keep; but it takes no place among the newest from what is known.
            unknown.into_iter().for_each(|place| verdicts[place].keep(rule, false));
        }
        Action::Expire => {
            let gone = match &rule.newest {
                None => yes,
                Some(newest) => newest.split(items, &yes).older,
            };
            for place in gone {
                verdicts[place].expires.get_or_insert_with(|| Arc::clone(&rule.label));
            }
        }
    }
}

/// What final rules of a policy leave to no later rule.
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

    /// Adds what `rule` matches by kind and name, if it is final.
    fn add(&mut self, items: &[Item<'_>], rule: &CompiledRule) {
        let Some(scope) = rule.final_for else {
            return;
        };
        for (place, item) in items.iter().enumerate() {
            if !rule.kinds.has(item.kind) || self.has(place, item) || !rule.selectors.named(item) {
                continue;
            }
            match scope {
                Final::Tag => self.items.insert(place),
                Final::Image => self.images.insert(item.manifest),
            };
        }
    }
}
