//! The one evaluator, of the dry run and of the real run.
//!
//! Rules judge *items*: tags, and manifests that nothing holds. All else follows them. First what stays is
//! found: the manifests of items that stay and of kept kept_history, and what follows from those; then what goes:
//! what follows from items that go and does not stay. So a manifest that anything keeps is whole.

use std::collections::HashSet;
use std::sync::Arc;

use super::compiled::{Compiled, SafeTags};
use super::graph::{Graph, TagRole};
use super::item::Items;
use super::judge::{Verdict, judge};
use super::plan::{KeepReason, RepoPlan};
use super::reachability::Reachability;
use super::snapshot::{RepoSnapshot, TagFacts};
use crate::clock::Timestamp;

/// Decides what of one repository goes and what stays at `now`; under `pressure` more may go. Asks for
/// nothing and changes nothing: the same question has the same answer.
pub fn evaluate(snapshot: &RepoSnapshot, policies: &Compiled, now: Timestamp, pressure: bool) -> RepoPlan {
    let graph = Graph::of(snapshot);
    let pulls = graph.pulls(snapshot);
    let items = Items::of(snapshot, &graph, &pulls);
    let safe = safe_tags(snapshot, policies);
    let mut verdicts = judge(&items.judged, policies, &snapshot.repo, now, pressure);
    for (item, safe) in items.of_tags.iter().zip(&safe).filter(|(_, safe)| !safe.is_empty()) {
        if let Some(verdict) = item.and_then(|item| verdicts.get_mut(item)) {
            verdict.keeps.retain(|reason| *reason != KeepReason::Unnamed);
            verdict.keeps.extend(safe.iter().cloned());
        }
    }
    let course = Evaluation { snapshot, graph, pulls, items, verdicts, safe };
    let kept_history = course.kept_history();
    let kept = course.kept(&kept_history);
    let gone = course.gone(&kept);
    let tags = course.decide_tags(&kept, &gone);
    RepoPlan { now, manifests: course.decide_manifests(&kept, &gone, &tags, kept_history), tags }
}

/// Why each tag is safe from rules, if it is.
fn safe_tags(snapshot: &RepoSnapshot, policies: &Compiled) -> Vec<Vec<KeepReason>> {
    let of = |lists: &[SafeTags]| {
        lists.iter().filter(|list| list.is_for(&snapshot.repo)).cloned().collect::<Vec<_>>()
    };
    let (protected, immutable) = (of(&policies.protected), of(&policies.immutable));
    let reasons = |tag: &TagFacts| {
        let is =
            |lists: &[SafeTags], reason| lists.iter().any(|list| list.names(&tag.name)).then_some(reason);
        let both = [is(&protected, KeepReason::Protected), is(&immutable, KeepReason::Immutable)];
        both.into_iter().flatten().collect()
    };
    snapshot.tags.iter().map(reasons).collect()
}

/// All that the decisions are made of.
pub(super) struct Evaluation<'a> {
    pub(super) snapshot: &'a RepoSnapshot,
    pub(super) graph: Graph<'a>,
    pub(super) pulls: Vec<Option<Timestamp>>,
    pub(super) items: Items<'a>,
    pub(super) verdicts: Vec<Verdict>,
    /// For each tag, why it is safe.
    pub(super) safe: Vec<Vec<KeepReason>>,
}

impl Evaluation<'_> {
    pub(super) fn verdict(&self, item: Option<usize>) -> Option<&Verdict> {
        item.and_then(|item| self.verdicts.get(item))
    }

    /// Manifests that kept tags pointed at before, as far as rules keep them, and why.
    fn kept_history(&self) -> Vec<(usize, KeepReason)> {
        let mut kept_history = Vec::new();
        for (tag, item) in self.snapshot.tags.iter().zip(&self.items.of_tags) {
            let Some((depth, rule)) = self.verdict(*item).and_then(|verdict| verdict.history.as_ref()) else {
                continue;
            };
            let mut seen = HashSet::from([&tag.digest]);
            for digest in &tag.past {
                if seen.len() > *depth {
                    break;
                }
                if !seen.insert(digest) {
                    continue;
                }
                let reason = KeepReason::History { tag: tag.name.clone(), rule: Arc::clone(rule) };
                kept_history.extend(self.graph.place_of(digest).map(|place| (place, reason)));
            }
        }
        kept_history
    }

    /// All that stays.
    fn kept(&self, kept_history: &[(usize, KeepReason)]) -> Reachability {
        let mut kept = Reachability::new(&self.graph);
        let staying = self.items.judged.iter().zip(&self.verdicts).filter(|(_, v)| v.expiry().is_none());
        for manifest in staying.map(|(item, _)| item.manifest).chain(kept_history.iter().map(|(m, _)| *m)) {
            kept.start(&self.graph, 0, manifest, None);
        }
        for (tag, role) in self.graph.roles.iter().enumerate() {
            let safe = !self.safe[tag].is_empty() && matches!(role, TagRole::Attached(_));
            if let (true, Some(target)) = (safe, self.graph.targets[tag]) {
                kept.start(&self.graph, 0, target, None);
            }
        }
        for manifest in self.unreached() {
            kept.start(&self.graph, 0, manifest, None);
        }
        kept
    }

    /// Manifests to which no item leads: tags that are attached to each other. No rule can name them.
    fn unreached(&self) -> Vec<usize> {
        let mut reached = Reachability::new(&self.graph);
        for item in &self.items.judged {
            reached.start(&self.graph, 0, item.manifest, None);
        }
        (0..self.snapshot.manifests.len()).filter(|place| reached.manifests[*place].is_none()).collect()
    }

    /// All that goes with the items that go, each with the last of them: starts are items.
    fn gone(&self, kept: &Reachability) -> Reachability {
        let mut going: Vec<_> = self
            .verdicts
            .iter()
            .enumerate()
            .filter_map(|(item, verdict)| {
                Some((verdict.expiry()?.index, self.items.judged[item].used_at(), item))
            })
            .collect();
        going.sort_unstable_by(|a, b| b.cmp(a));
        let mut gone = Reachability::new(&self.graph);
        for (_, _, item) in going {
            gone.start(&self.graph, item, self.items.judged[item].manifest, Some(kept));
        }
        gone
    }
}
