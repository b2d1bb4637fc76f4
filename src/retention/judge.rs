//! What the rules say of each item by itself.

use std::sync::Arc;

use super::compiled::{Compiled, CompiledRule, RuleLabel};
use super::item::Item;
use super::plan::KeepReason;
use super::policy::Action;
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
    for rule in policies.rules_for(repo, pressure) {
        let (yes, unknown) = select(items, rule, now);
        match (rule.action, &rule.newest) {
            (Action::Keep, newest) => {
                let yes = newest.as_ref().map_or(yes.clone(), |newest| newest.split(items, &yes).newest);
                yes.into_iter().for_each(|place| verdicts[place].keep(rule, true));
                // Unknown means keep; but it takes no place among the newest from what is known.
                unknown.into_iter().for_each(|place| verdicts[place].keep(rule, false));
            }
            (Action::Expire, newest) => {
                let gone = newest.as_ref().map_or(yes.clone(), |newest| newest.split(items, &yes).older);
                for place in gone {
                    verdicts[place].expires.get_or_insert_with(|| Arc::clone(&rule.label));
                }
            }
        }
    }
    for verdict in &mut verdicts {
        if verdict.keeps.is_empty() && verdict.expires.is_none() {
            verdict.keeps.push(KeepReason::Unnamed);
        }
    }
    verdicts
}

/// The places of what a rule selects, and of what it may select for all that is known.
fn select(items: &[Item<'_>], rule: &CompiledRule, now: Timestamp) -> (Vec<usize>, Vec<usize>) {
    let (mut yes, mut unknown) = (Vec::new(), Vec::new());
    for (place, item) in items.iter().enumerate().filter(|(_, item)| rule.kinds.has(item.kind)) {
        match rule.selectors.judge(item, rule.action, now) {
            Match::Yes => yes.push(place),
            Match::Unknown => unknown.push(place),
            Match::No => {}
        }
    }
    (yes, unknown)
}
