//! What policies would do: the evaluator's decisions, tag by tag, and the steps that they come to.

use std::collections::HashMap;

use uuid::Uuid;

use super::book::InForce;
use crate::clock::Timestamp;
use crate::metadata::Pin;
use crate::oci::{Digest, RepoName, Tag};
use crate::retention::{Cause, Compiled, Decision, Expiry, KeepReason, RepoSnapshot, StepTarget, evaluate};

/// What policies would do at one moment.
#[derive(Debug, Clone)]
pub struct PlanReport {
    /// What it is asked for by later.
    pub id: Uuid,
    /// When it was made.
    pub now: Timestamp,
    /// Whether it is for a store that is nearly full.
    pub pressure: bool,
    /// What tells the policies that it was made by from others.
    policies: String,
    /// Each repository that some rule is for.
    pub repositories: Vec<RepoRows>,
    /// The bytes that would come free, if that is known.
    pub would_free: Option<u64>,
    /// What is to be done, in this order: a repository's and a row's place.
    pub(super) steps: Vec<(usize, usize)>,
}

/// The decisions on one repository.
#[derive(Debug, Clone)]
pub struct RepoRows {
    /// Which.
    pub repo: RepoName,
    /// Every tag, and every manifest that goes or that nothing but a rule or the lack of one keeps.
    pub rows: Vec<Row>,
    /// What is to be pinned.
    pub(super) pins: Vec<Pin>,
}

/// The decision on a tag or a manifest.
#[derive(Debug, Clone)]
pub struct Row {
    /// The tag; `None` for a manifest.
    pub tag: Option<Tag>,
    /// The manifest, or what the tag points at.
    pub digest: Digest,
    /// The decision; [`Decision::explain`] says it in words.
    pub decision: Decision,
    /// When the tag was pushed, or the manifest was let alone: what the step compares.
    pub(super) at: Timestamp,
    /// How it is sorted among the steps, if it is one.
    pub(super) step: Option<usize>,
}

impl PlanReport {
    /// Whether it was made by these policies.
    pub(super) fn is_by(&self, in_force: &InForce) -> bool {
        self.policies == in_force.fingerprint
    }

    /// Of these repositories, in the order in which their rows are told.
    pub(super) fn new(
        in_force: &InForce,
        now: Timestamp,
        pressure: bool,
        repositories: Vec<RepoRows>,
    ) -> Self {
        let mut steps = Vec::new();
        for (repo, rows) in repositories.iter().enumerate() {
            for (place, row) in rows.rows.iter().enumerate() {
                if let (Some(order), Some(expiry)) = (row.step, row.decision.expiry()) {
                    let judged = expiry.cause != Cause::Rule;
                    steps.push(((expiry.rule.index, expiry.used_at, judged, repo, order), (repo, place)));
                }
            }
        }
        steps.sort_unstable_by_key(|(order, _)| *order);
        let steps = steps.into_iter().map(|(_, at)| at).collect();
        let policies = in_force.fingerprint.clone();
        Self { id: Uuid::new_v4(), now, pressure, policies, repositories, would_free: None, steps }
    }

    /// How many steps it has.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// All rows with their repositories: those of each repository together.
    pub fn rows(&self) -> impl Iterator<Item = (&RepoName, &Row)> {
        self.repositories.iter().flat_map(|rows| rows.rows.iter().map(|row| (&rows.repo, row)))
    }

    /// The manifests that would go.
    pub(super) fn going(&self) -> Vec<(RepoName, Digest)> {
        let going = self.rows().filter(|(_, row)| row.tag.is_none() && row.decision.expiry().is_some());
        going.map(|(repo, row)| (repo.clone(), row.digest.clone())).collect()
    }

    /// A step, with why it is one.
    pub(super) fn step(&self, number: usize) -> Option<(&RepoName, &Row, &Expiry)> {
        let (repo, row) = self.steps.get(number)?;
        let rows = self.repositories.get(*repo)?;
        let row = rows.rows.get(*row)?;
        Some((&rows.repo, row, row.decision.expiry()?))
    }
}

impl RepoRows {
    /// Judges a repository.
    pub(super) fn judge(snapshot: RepoSnapshot, policies: &Compiled, now: Timestamp, pressure: bool) -> Self {
        let plan = evaluate(&snapshot, policies, now, pressure);
        let order: HashMap<StepTarget, usize> =
            plan.steps().into_iter().enumerate().map(|(order, (at, _))| (at, order)).collect();
        let RepoSnapshot { repo, tags, manifests } = snapshot;
        let mut rows = Vec::with_capacity(tags.len());
        for (place, (tag, decision)) in tags.into_iter().zip(plan.tags).enumerate() {
            let step = order.get(&StepTarget::Tag(place)).copied();
            rows.push(Row { tag: Some(tag.name), digest: tag.digest, decision, at: tag.pushed_at, step });
        }
        let mut pins = Vec::new();
        for (place, (manifest, decision)) in manifests.into_iter().zip(plan.manifests).enumerate() {
            if is_held(&decision) {
                continue;
            }
            if is_pinned(&decision) {
                let reason = decision.explain(now).to_string();
                pins.push(Pin { digest: manifest.digest.clone(), reason });
            }
            let step = order.get(&StepTarget::Manifest(place)).copied();
            let at = manifest.alone_at.unwrap_or_default();
            rows.push(Row { tag: None, digest: manifest.digest, decision, at, step });
        }
        Self { repo, rows, pins }
    }
}

/// Whether something in the repository keeps a manifest: of that, a row tells already.
fn is_held(decision: &Decision) -> bool {
    let held = |reason: &KeepReason| {
        matches!(reason, KeepReason::Tag(_) | KeepReason::Index(_) | KeepReason::Subject(_))
    };
    matches!(decision, Decision::Keep { by } if by.iter().any(held))
}

/// Whether a rule alone keeps a manifest.
fn is_pinned(decision: &Decision) -> bool {
    let ruled = |reason: &KeepReason| {
        matches!(reason, KeepReason::Rule(_) | KeepReason::Unknown(_) | KeepReason::History { .. })
    };
    matches!(decision, Decision::Keep { by } if by.iter().any(ruled))
}
