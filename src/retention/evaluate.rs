//! The evaluator of policies, for both dry runs and real runs.
//!
//! Rules apply to *items*: tags and unreferenced manifests. Everything else follows them. The evaluator first finds
//! what is kept: the manifests of kept items and of the kept history, and everything that follows from them. Then it
//! finds what expires: everything that follows from expired items and is not kept. So a kept manifest is always
//! complete.

use std::collections::HashSet;
use std::sync::Arc;

use super::apply_rules::{Verdict, apply_rules};
use super::compiled::{CompiledPolicies, ExemptTags};
use super::graph::{Graph, TagRole};
use super::item::Items;
use super::plan::{KeepReason, RepoPlan};
use super::reachability::Reachability;
use super::snapshot::{RepoSnapshot, TagFacts};
use crate::clock::Timestamp;

/// Decides what expires and what is kept in one repository at `now`; if `pressure` is set, because the disk is
/// nearly full, rules that apply only then may expire more. Deterministic
/// and without side effects.
pub fn evaluate(
    snapshot: &RepoSnapshot,
    policies: &CompiledPolicies,
    now: Timestamp,
    pressure: bool,
) -> RepoPlan {
    let graph = Graph::of(snapshot);
    let pulls = graph.pulls(snapshot);
    let items = Items::of(snapshot, &graph, &pulls);
    let exempt = find_exempt_tags(snapshot, policies);
    let mut verdicts = apply_rules(&items.all, policies, &snapshot.repo, now, pressure);
    for (item, exempt) in items.of_tags.iter().zip(&exempt).filter(|(_, exempt)| !exempt.is_empty()) {
        if let Some(verdict) = item.and_then(|item| verdicts.get_mut(item)) {
            verdict.keeps.retain(|reason| *reason != KeepReason::NoRule);
            verdict.keeps.extend(exempt.iter().cloned());
        }
    }
    let held = find_held(snapshot, &graph);
    for (item, verdict) in items.all.iter().zip(&mut verdicts) {
        if held.manifests[item.manifest].is_some() {
            verdict.keeps.retain(|reason| *reason != KeepReason::NoRule);
            verdict.keeps.push(KeepReason::Adopted);
        }
    }
    let evaluation = Evaluation { snapshot, graph, pulls, items, verdicts, exempt, held };
    let kept_history = evaluation.find_kept_history();
    let kept = evaluation.find_kept(&kept_history);
    let expired = evaluation.find_expired(&kept);
    let tags = evaluation.decide_tags(&kept, &expired);
    RepoPlan { now, manifests: evaluation.decide_manifests(&kept, &expired, &tags, kept_history), tags }
}

/// Returns for each tag why rules do not apply to it; empty if they do.
fn find_exempt_tags(snapshot: &RepoSnapshot, policies: &CompiledPolicies) -> Vec<Vec<KeepReason>> {
    let of = |lists: &[ExemptTags]| {
        lists.iter().filter(|list| list.applies_to(&snapshot.repo)).cloned().collect::<Vec<_>>()
    };
    let protected = of(&policies.protected);
    let immutable = of(&policies.immutable);
    let reasons = |tag: &TagFacts| {
        let is = |lists: &[ExemptTags], reason| {
            lists.iter().any(|list| list.contains(&tag.name)).then_some(reason)
        };
        let both = [is(&protected, KeepReason::Protected), is(&immutable, KeepReason::Immutable)];
        both.into_iter().flatten().collect()
    };
    snapshot.tags.iter().map(reasons).collect()
}

/// Finds the manifests that were adopted and are not released, with everything that belongs to them.
fn find_held(snapshot: &RepoSnapshot, graph: &Graph<'_>) -> Reachability {
    let mut held = Reachability::new(graph);
    let manifests = snapshot.manifests.iter().enumerate().filter(|(_, manifest)| manifest.held);
    manifests.for_each(|(place, _)| held.mark_from(graph, 0, place, None));
    held
}

/// Everything the decisions are based on.
pub(super) struct Evaluation<'a> {
    pub(super) snapshot: &'a RepoSnapshot,
    pub(super) graph: Graph<'a>,
    pub(super) pulls: Vec<Option<Timestamp>>,
    pub(super) items: Items<'a>,
    pub(super) verdicts: Vec<Verdict>,
    /// For each tag, why rules do not apply to it.
    pub(super) exempt: Vec<Vec<KeepReason>>,
    /// What was adopted and is not released, with everything that belongs to it.
    pub(super) held: Reachability,
}

impl Evaluation<'_> {
    pub(super) fn verdict(&self, item: Option<usize>) -> Option<&Verdict> {
        item.and_then(|item| self.verdicts.get(item))
    }

    /// Finds the manifests that kept tags pointed at before, as far as rules keep them, with the reason.
    fn find_kept_history(&self) -> Vec<(usize, KeepReason)> {
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
                kept_history.extend(self.graph.index_of(digest).map(|index| (index, reason)));
            }
        }
        kept_history
    }

    /// Finds all manifests and attached tags that are kept.
    fn find_kept(&self, kept_history: &[(usize, KeepReason)]) -> Reachability {
        let mut kept = Reachability::new(&self.graph);
        let kept_items = self.items.all.iter().zip(&self.verdicts).filter(|(_, v)| v.expiry().is_none());
        for manifest in kept_items.map(|(item, _)| item.manifest).chain(kept_history.iter().map(|(m, _)| *m))
        {
            kept.mark_from(&self.graph, 0, manifest, None);
        }
        for (tag, role) in self.graph.roles.iter().enumerate() {
            let exempt = !self.exempt[tag].is_empty() && matches!(role, TagRole::Attached(_));
            if let (true, Some(target)) = (exempt, self.graph.targets[tag]) {
                kept.mark_from(&self.graph, 0, target, None);
            }
        }
        for (manifest, _) in self.held.manifests.iter().enumerate().filter(|(_, held)| held.is_some()) {
            kept.mark_from(&self.graph, 0, manifest, None);
        }
        for manifest in self.unreached() {
            kept.mark_from(&self.graph, 0, manifest, None);
        }
        kept
    }

    /// Finds manifests that no item leads to: tags that are attached to each other. No rule can select them.
    fn unreached(&self) -> Vec<usize> {
        let mut reached = Reachability::new(&self.graph);
        for item in &self.items.all {
            reached.mark_from(&self.graph, 0, item.manifest, None);
        }
        (0..self.snapshot.manifests.len()).filter(|index| reached.manifests[*index].is_none()).collect()
    }

    /// Finds everything that expires with the expired items. What several items lead to is attributed to the one that
    /// expires last.
    fn find_expired(&self, kept: &Reachability) -> Reachability {
        let mut expired: Vec<_> = self
            .verdicts
            .iter()
            .enumerate()
            .filter_map(|(item, verdict)| {
                Some((verdict.expiry()?.index, self.items.all[item].used_at(), item))
            })
            .collect();
        expired.sort_unstable_by(|a, b| b.cmp(a));
        let mut gone = Reachability::new(&self.graph);
        for (_, _, item) in expired {
            gone.mark_from(&self.graph, item, self.items.all[item].manifest, Some(kept));
        }
        gone
    }
}
