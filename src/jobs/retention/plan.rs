//! Plans: the decisions of the evaluator on each tag and manifest, and the steps that follow from them.

use std::collections::HashMap;

use uuid::Uuid;

use super::policy_set::InForce;
use crate::clock::Timestamp;
use crate::memory::Reservation;
use crate::metadata::Pin;
use crate::oci::{Digest, RepoName, Tag};
use crate::retention::{
    Cause, CompiledPolicies, Decision, Expiry, KeepReason, RepoSnapshot, StepTarget, evaluate,
};

/// What the policies would do at one moment.
#[derive(Debug)]
pub struct PlanReport {
    /// The id under which the plan is stored.
    pub id: Uuid,
    /// When the plan was made.
    pub now: Timestamp,
    /// Whether the plan is for a nearly full store.
    pub pressure: bool,
    /// The fingerprint of the policies it was made by.
    policies: String,
    /// The repositories that some rule applies to.
    pub repositories: Vec<RepoRows>,
    /// How many tags and manifests are removed and kept.
    pub totals: Totals,
    /// Whether kept items have no rows because these would take too much memory.
    pub kept_left_out: bool,
    /// The bytes that applying the plan would free, if known.
    pub would_free: Option<u64>,
    /// The bytes that become free after that when another registry's tree is removed, which has the same files.
    pub would_free_later: u64,
    /// The steps in order, each as the index of a repository and of a row in it.
    pub(super) steps: Vec<(usize, usize)>,
}

/// How many tags and manifests are removed and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Tags that are removed.
    pub tags: u64,
    /// Tags that are kept.
    pub tags_kept: u64,
    /// Manifests that are removed.
    pub manifests: u64,
}

/// The sort key of a step among those of all repositories.
pub(super) type StepKey = (usize, Timestamp, bool, usize, usize);

/// The decisions on one repository.
#[derive(Debug)]
pub struct RepoRows {
    /// The repository.
    pub repo: RepoName,
    /// A row for each tag, for each manifest that is removed, and for each manifest that is kept only by a rule or
    /// because no rule applies.
    pub rows: Vec<Row>,
    /// The number of kept tags without a row.
    pub(super) kept_left_out: u64,
    /// The pins that the decisions require.
    pub(super) pins: Vec<Pin>,
    /// The memory reserved for the rows.
    pub(super) memory: Option<Reservation>,
}

/// The decision on a tag or a manifest.
#[derive(Debug, Clone)]
pub struct Row {
    /// The tag; `None` for a manifest.
    pub tag: Option<Tag>,
    /// The manifest, or the one the tag points at.
    pub digest: Digest,
    /// The decision; [`Decision::explain`] puts it into words.
    pub decision: Decision,
    /// When the tag was pushed, or when the manifest lost its last reference. The step compares it.
    pub(super) at: Timestamp,
    /// The row's position among the repository's steps, if it is a step.
    pub(super) step: Option<usize>,
}

impl PlanReport {
    /// Whether the plan was made by these policies.
    pub(super) fn is_by(&self, in_force: &InForce) -> bool {
        self.policies == in_force.fingerprint
    }

    /// Creates the plan of these repositories, in the order in which their rows are listed.
    pub(super) fn new(
        in_force: &InForce,
        now: Timestamp,
        pressure: bool,
        repositories: Vec<RepoRows>,
    ) -> Self {
        let mut steps: Vec<_> =
            repositories.iter().enumerate().flat_map(|(repo, rows)| rows.steps(repo)).collect();
        steps.sort_unstable();
        let steps = steps.into_iter().map(|((_, _, _, repo, _), row)| (repo, row)).collect();
        let mut totals = Totals::default();
        repositories.iter().for_each(|rows| rows.count(&mut totals));
        Self {
            id: Uuid::new_v4(),
            now,
            pressure,
            policies: in_force.fingerprint.clone(),
            repositories,
            totals,
            kept_left_out: false,
            would_free: None,
            would_free_later: 0,
            steps,
        }
    }

    /// Returns the size of the plan in memory.
    pub(super) fn weight(&self) -> usize {
        self.repositories.iter().map(RepoRows::weight).sum()
    }

    /// Returns the number of steps.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Iterates over all rows with their repositories; the rows of a repository stay together.
    pub fn rows(&self) -> impl Iterator<Item = (&RepoName, &Row)> {
        self.repositories.iter().flat_map(|rows| rows.rows.iter().map(|row| (&rows.repo, row)))
    }

    /// Iterates over the rows from number `from` on, with their numbers.
    pub fn rows_from(&self, from: usize) -> impl Iterator<Item = (usize, &RepoName, &Row)> {
        let mut first = 0;
        self.repositories.iter().flat_map(move |rows| {
            let start = first;
            first += rows.rows.len();
            let skipped = from.saturating_sub(start).min(rows.rows.len());
            let numbered = rows.rows[skipped..].iter().zip(start + skipped..);
            numbered.map(|(row, number)| (number, &rows.repo, row))
        })
    }

    /// Returns the manifests that would be removed.
    pub(super) fn removed_manifests(&self) -> Vec<(RepoName, Digest)> {
        let removed = self.rows().filter(|(_, row)| row.tag.is_none() && row.decision.expiry().is_some());
        removed.map(|(repo, row)| (repo.clone(), row.digest.clone())).collect()
    }

    /// Returns a step with the reason for it.
    pub(super) fn step(&self, number: usize) -> Option<(&RepoName, &Row, &Expiry)> {
        let (repo, row) = self.steps.get(number)?;
        let rows = self.repositories.get(*repo)?;
        let row = rows.rows.get(*row)?;
        Some((&rows.repo, row, row.decision.expiry()?))
    }
}

/// The heap memory of a row: names, digests, reasons.
const ROW_HEAP_BYTES: usize = 160;

/// The memory of a pin.
const PIN_BYTES: usize = 256;

impl RepoRows {
    pub(super) fn new(repo: RepoName, rows: Vec<Row>, pins: Vec<Pin>) -> Self {
        Self { repo, rows, kept_left_out: 0, pins, memory: None }
    }

    /// Returns the size of the rows in memory.
    pub(super) fn weight(&self) -> usize {
        let rows = self.rows.len() * (size_of::<Row>() + ROW_HEAP_BYTES);
        size_of::<Self>() + rows + self.pins.len() * PIN_BYTES
    }

    /// Iterates over the steps: the sort key and the index of the row.
    pub(super) fn steps(&self, repo: usize) -> impl Iterator<Item = (StepKey, usize)> {
        self.rows.iter().enumerate().filter_map(move |(place, row)| Some((row.key(repo)?, place)))
    }

    /// Removes the rows of kept items.
    pub(super) fn leave_out_kept(&mut self) {
        let is_kept = |row: &Row| row.decision.expiry().is_none();
        let tags = self.rows.iter().filter(|row| row.tag.is_some() && is_kept(row)).count();
        self.kept_left_out += tags as u64;
        self.retain(|row| !is_kept(row));
    }

    /// Removes the rows of steps after `last`, and all rows that are not steps.
    pub(super) fn leave_out_steps_behind(&mut self, repo: usize, last: StepKey) {
        self.retain(|row| row.key(repo).is_some_and(|key| key <= last));
    }

    fn retain(&mut self, keep: impl FnMut(&Row) -> bool) {
        self.rows.retain(keep);
        self.rows.shrink_to_fit();
        let weight = self.weight();
        if let Some(memory) = &mut self.memory {
            memory.shrink_to(weight);
        }
    }

    fn count(&self, totals: &mut Totals) {
        totals.tags_kept += self.kept_left_out;
        for row in &self.rows {
            match (&row.tag, row.decision.expiry()) {
                (Some(_), Some(_)) => totals.tags += 1,
                (Some(_), None) => totals.tags_kept += 1,
                (None, Some(_)) => totals.manifests += 1,
                (None, None) => {}
            }
        }
    }

    /// Evaluates the policies for a repository.
    pub(super) fn evaluate(
        snapshot: RepoSnapshot,
        policies: &CompiledPolicies,
        now: Timestamp,
        pressure: bool,
    ) -> Self {
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
            if is_kept_by_another(&decision) {
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
        Self::new(repo, rows, pins)
    }
}

impl Row {
    /// Returns the sort key of the row among the steps of all repositories, if it is a step.
    fn key(&self, repo: usize) -> Option<StepKey> {
        let order = self.step?;
        let expiry = self.decision.expiry()?;
        Some((expiry.rule.index, expiry.used_at, expiry.cause != Cause::Rule, repo, order))
    }
}

/// Whether a tag, an index or a subject keeps a manifest. Another row reports that already.
fn is_kept_by_another(decision: &Decision) -> bool {
    let is_reference = |reason: &KeepReason| {
        matches!(reason, KeepReason::Tag(_) | KeepReason::Index(_) | KeepReason::Subject(_))
    };
    matches!(decision, Decision::Keep { by } if by.iter().any(is_reference))
}

/// Whether a rule keeps a manifest. The caller has excluded those that a tag, an index or a subject keeps.
fn is_pinned(decision: &Decision) -> bool {
    let is_rule = |reason: &KeepReason| {
        matches!(reason, KeepReason::Rule(_) | KeepReason::Unknown(_) | KeepReason::History { .. })
    };
    matches!(decision, Decision::Keep { by } if by.iter().any(is_rule))
}
