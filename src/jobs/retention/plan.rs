//! What policies would do: the evaluator's decisions, tag by tag, and the steps that they come to.

use std::collections::HashMap;

use uuid::Uuid;

use super::policy_set::InForce;
use crate::clock::Timestamp;
use crate::memory::Reservation;
use crate::metadata::Pin;
use crate::oci::{Digest, RepoName, Tag};
use crate::retention::{Cause, Compiled, Decision, Expiry, KeepReason, RepoSnapshot, StepTarget, evaluate};

/// What policies would do at one moment.
#[derive(Debug)]
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
    /// How many tags and manifests go and stay.
    pub totals: Totals,
    /// Whether what stays has no rows, because they would take too much memory.
    pub kept_left_out: bool,
    /// The bytes that would come free, if that is known.
    pub would_free: Option<u64>,
    /// What is to be done, in this order: a repository's and a row's place.
    pub(super) steps: Vec<(usize, usize)>,
}

/// How many tags and manifests go and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Tags that go.
    pub tags: u64,
    /// Tags that stay.
    pub tags_kept: u64,
    /// Manifests that go.
    pub manifests: u64,
}

/// How a step is sorted among those of all repositories.
pub(super) type StepKey = (usize, Timestamp, bool, usize, usize);

/// The decisions on one repository.
#[derive(Debug)]
pub struct RepoRows {
    /// Which.
    pub repo: RepoName,
    /// Every tag, and every manifest that goes or that nothing but a rule or the lack of one keeps.
    pub rows: Vec<Row>,
    /// Tags that stay and have no row.
    pub(super) kept_left_out: u64,
    /// What is to be pinned.
    pub(super) pins: Vec<Pin>,
    /// The memory that it takes.
    pub(super) held: Option<Reservation>,
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
            steps,
        }
    }

    /// The bytes that it takes.
    pub(super) fn weight(&self) -> usize {
        self.repositories.iter().map(RepoRows::weight).sum()
    }

    /// How many steps it has.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// All rows with their repositories: those of each repository together.
    pub fn rows(&self) -> impl Iterator<Item = (&RepoName, &Row)> {
        self.repositories.iter().flat_map(|rows| rows.rows.iter().map(|row| (&rows.repo, row)))
    }

    /// The rows from a number on, with their numbers.
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

/// Bytes of a row on the heap: names, digests, reasons.
const ROW_HEAP_BYTES: usize = 160;

/// Bytes of a pin.
const PIN_BYTES: usize = 256;

impl RepoRows {
    pub(super) fn new(repo: RepoName, rows: Vec<Row>, pins: Vec<Pin>) -> Self {
        Self { repo, rows, kept_left_out: 0, pins, held: None }
    }

    /// The bytes that it takes.
    pub(super) fn weight(&self) -> usize {
        let rows = self.rows.len() * (size_of::<Row>() + ROW_HEAP_BYTES);
        size_of::<Self>() + rows + self.pins.len() * PIN_BYTES
    }

    /// Its steps: how each is sorted among all, and the row's place.
    pub(super) fn steps(&self, repo: usize) -> impl Iterator<Item = (StepKey, usize)> {
        self.rows.iter().enumerate().filter_map(move |(place, row)| Some((row.key(repo)?, place)))
    }

    /// Leaves out the rows of what stays.
    pub(super) fn leave_out_kept(&mut self) {
        let is_kept = |row: &Row| row.decision.expiry().is_none();
        let tags = self.rows.iter().filter(|row| row.tag.is_some() && is_kept(row)).count();
        self.kept_left_out += tags as u64;
        self.retain(|row| !is_kept(row));
    }

    /// Leaves out the rows of steps behind `last`, and of what goes with them.
    pub(super) fn leave_out_steps_behind(&mut self, repo: usize, last: StepKey) {
        self.retain(|row| row.key(repo).is_some_and(|key| key <= last));
    }

    fn retain(&mut self, keep: impl FnMut(&Row) -> bool) {
        self.rows.retain(keep);
        self.rows.shrink_to_fit();
        let weight = self.weight();
        if let Some(held) = &mut self.held {
            held.shrink_to(weight);
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
        Self::new(repo, rows, pins)
    }
}

impl Row {
    /// How it is sorted among the steps of all repositories, if it is one.
    fn key(&self, repo: usize) -> Option<StepKey> {
        let (order, expiry) = (self.step?, self.decision.expiry()?);
        Some((expiry.rule.index, expiry.used_at, expiry.cause != Cause::Rule, repo, order))
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
