//! Turns the sets of kept and expired items into a decision, with reasons, on each tag and manifest.

use std::sync::Arc;

use super::evaluate::Evaluation;
use super::graph::TagRole;
use super::plan::{Cause, Decision, Expiry, KeepReason};
use super::reachability::{Arrival, Reachability, Via};
use crate::oci::Digest;

impl Evaluation<'_> {
    pub(super) fn decide_tags(&self, kept: &Reachability, expired: &Reachability) -> Vec<Decision> {
        (0..self.snapshot.tags.len()).map(|tag| self.decide_tag(tag, kept, expired)).collect()
    }

    fn decide_tag(&self, tag: usize, kept: &Reachability, expired: &Reachability) -> Decision {
        if let Some(item) = self.items.of_tags[tag] {
            let own = self.expiry(item, Cause::Rule).map(Decision::Expire);
            let by = || self.verdict(Some(item)).map_or_else(Vec::new, |verdict| verdict.keeps.clone());
            return own.unwrap_or_else(|| keep(by()));
        }
        let mut by = self.exempt[tag].clone();
        if self.graph.targets[tag].is_none() {
            by.push(KeepReason::NoManifest);
        }
        if self.graph.targets[tag].is_some_and(|target| self.is_held(target)) {
            by.push(KeepReason::Adopted);
        }
        let TagRole::Attached(subject) = self.graph.roles[tag] else {
            return keep(by);
        };
        let digest = self.digest(subject);
        if kept.manifests[subject].is_some() {
            by.push(KeepReason::Subject(digest));
            return keep(by);
        }
        let arrival = expired.tags[tag].filter(|_| by.is_empty());
        let expiry = arrival.and_then(|arrival| self.expiry(arrival.start, Cause::Subject(digest)));
        expiry.map_or(keep(by), |expiry| {
            let pulled_at = self.graph.targets[tag].and_then(|target| self.pulls[target]);
            Decision::Expire(Expiry { pushed_at: self.snapshot.tags[tag].pushed_at, pulled_at, ..expiry })
        })
    }

    pub(super) fn decide_manifests(
        &self,
        kept: &Reachability,
        expired: &Reachability,
        tags: &[Decision],
        kept_history: Vec<(usize, KeepReason)>,
    ) -> Vec<Decision> {
        let decide = |place| match (kept.manifests[place], expired.manifests[place]) {
            (None, Some(arrival)) => self.expired_manifest(place, arrival),
            _ => Decision::Keep { by: self.keep_reasons(place, kept, tags) },
        };
        let mut decisions: Vec<_> = (0..self.snapshot.manifests.len()).map(decide).collect();
        for (place, reason) in kept_history {
            if let Decision::Keep { by } = &mut decisions[place] {
                by.push(reason);
            }
        }
        for decision in &mut decisions {
            if let Decision::Keep { by } = decision {
                normalize_reasons(by);
            }
        }
        decisions
    }

    /// Returns the reasons to keep a manifest, except for the history of tags.
    fn keep_reasons(&self, place: usize, kept: &Reachability, tags: &[Decision]) -> Vec<KeepReason> {
        let own = self.verdict(self.items.of_manifests[place]).filter(|verdict| verdict.expiry().is_none());
        let mut by = own.map_or_else(Vec::new, |verdict| verdict.keeps.clone());
        if self.is_held(place) && !by.contains(&KeepReason::Adopted) {
            by.push(KeepReason::Adopted);
        }
        let kept_tags = self.graph.tags[place].iter().filter(|tag| tags[**tag].expiry().is_none());
        by.extend(kept_tags.map(|tag| KeepReason::Tag(self.snapshot.tags[*tag].name.clone())));
        let is_kept = |place: &usize| kept.manifests[*place].is_some();
        let parents = self.graph.parents[place].iter().filter(|parent| is_kept(parent));
        by.extend(parents.map(|parent| KeepReason::Index(self.digest(*parent))));
        let subject = self.graph.subjects[place].filter(is_kept);
        by.extend(subject.map(|subject| KeepReason::Subject(self.digest(subject))));
        by
    }

    fn expired_manifest(&self, place: usize, arrival: Arrival) -> Decision {
        let cause = match arrival.via {
            Via::Start if self.items.of_manifests[place].is_some() => Cause::Rule,
            Via::Start | Via::Tag => Cause::Tags,
            Via::Index(index) => Cause::Index(self.digest(index)),
            Via::Subject(subject) => Cause::Subject(self.digest(subject)),
        };
        let is_own_rule = cause == Cause::Rule;
        self.expiry(arrival.start, cause).map_or(keep(Vec::new()), |expiry| {
            let pushed_at = self.snapshot.manifests[place].pushed_at;
            let pulled_at = self.pulls[place];
            Decision::Expire(if is_own_rule { expiry } else { Expiry { pushed_at, pulled_at, ..expiry } })
        })
    }

    /// Whether a manifest was adopted and is not released, or belongs to one that is not.
    fn is_held(&self, place: usize) -> bool {
        self.held.manifests[place].is_some()
    }

    /// Returns how an item expires, if it does.
    fn expiry(&self, item: usize, cause: Cause) -> Option<Expiry> {
        let found = self.items.all.get(item)?;
        let rule = Arc::clone(self.verdicts.get(item)?.expiry()?);
        Some(Expiry {
            rule,
            cause,
            pushed_at: found.pushed_at,
            pulled_at: found.pulled_at,
            used_at: found.used_at(),
        })
    }

    fn digest(&self, place: usize) -> Digest {
        self.snapshot.manifests[place].digest.clone()
    }
}

fn keep(mut by: Vec<KeepReason>) -> Decision {
    normalize_reasons(&mut by);
    Decision::Keep { by }
}

/// Makes "no rule selects it" the only reason if there is no other, and removes it if there is.
fn normalize_reasons(by: &mut Vec<KeepReason>) {
    if by.len() > 1 {
        by.retain(|reason| *reason != KeepReason::NoRule);
    }
    if by.is_empty() {
        by.push(KeepReason::NoRule);
    }
}
