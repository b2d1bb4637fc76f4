//! Collects the decisions on many repositories, within a size limit.

use super::plan::RepoRows;

/// The part of the memory budget one plan may take, and all stored plans together may take as much again.
pub(super) const PLAN_SHARE: usize = 4;

/// The decisions on the repositories of one plan.
pub(super) struct Collected {
    pub(super) repositories: Vec<RepoRows>,
    limit: usize,
    bytes: usize,
    /// Whether only the first steps are needed, as many as fit.
    steps_alone: bool,
    /// Whether the rows of kept items are left out.
    pub(super) kept_left_out: bool,
    /// Whether later steps are left out.
    pub(super) steps_left_out: bool,
}

/// The error that not even the steps fit.
pub(super) struct TooLarge;

impl Collected {
    /// Creates an empty collection of at most `limit` bytes, for all decisions or for the first steps alone.
    pub(super) fn new(limit: usize, steps_alone: bool) -> Self {
        Self {
            repositories: Vec::new(),
            limit,
            bytes: 0,
            steps_alone,
            kept_left_out: steps_alone,
            steps_left_out: false,
        }
    }

    /// Adds a repository. If it does not fit, rows of kept items are left out first.
    pub(super) fn add(&mut self, mut rows: RepoRows) -> Result<(), TooLarge> {
        if self.kept_left_out {
            rows.leave_out_kept();
        }
        self.bytes += rows.weight();
        self.repositories.push(rows);
        if self.bytes > self.limit && !self.kept_left_out {
            self.kept_left_out = true;
            self.retain(RepoRows::leave_out_kept);
        }
        if self.bytes > self.limit && !self.steps_alone {
            return Err(TooLarge);
        }
        if self.bytes > self.limit {
            self.leave_out_later_steps();
        }
        Ok(())
    }

    /// Leaves out the later half of the steps.
    fn leave_out_later_steps(&mut self) {
        let mut keys: Vec<_> =
            self.repositories.iter().enumerate().flat_map(|(place, rows)| rows.steps(place)).collect();
        let middle = keys.len() / 2;
        if middle == 0 {
            return;
        }
        let (_, (last, _), _) = keys.select_nth_unstable(middle - 1);
        let last = *last;
        self.steps_left_out = true;
        let mut place = 0;
        self.retain(|rows| {
            rows.leave_out_steps_behind(place, last);
            place += 1;
        });
    }

    fn retain(&mut self, change: impl FnMut(&mut RepoRows)) {
        self.repositories.iter_mut().for_each(change);
        self.bytes = self.repositories.iter().map(RepoRows::weight).sum();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::plan::Row;
    use super::*;
    use crate::clock::Timestamp;
    use crate::oci::{Algorithm, Hasher};
    use crate::retention::{Cause, Decision, Expiry, KeepReason, RuleLabel};

    /// Returns a repository with `kept` rows that stay, and with steps last used at these times.
    fn rows(kept: usize, used_at: &[i64]) -> RepoRows {
        let digest = Hasher::digest(Algorithm::Sha256, b"a");
        let rule = Arc::new(RuleLabel { index: 0, policy: "p".into(), rule: "r".into() });
        let row = |decision, step| Row {
            tag: Some("a".parse().expect("a tag")),
            digest: digest.clone(),
            decision,
            at: Timestamp(0),
            step,
        };
        let kept = (0..kept).map(|_| row(Decision::Keep { by: vec![KeepReason::NoRule] }, None));
        let going = used_at.iter().enumerate().map(|(order, used_at)| {
            let used_at = Timestamp(*used_at);
            let expiry = Expiry {
                rule: Arc::clone(&rule),
                cause: Cause::Rule,
                pushed_at: used_at,
                pulled_at: None,
                used_at,
            };
            row(Decision::Expire(expiry), Some(order))
        });
        RepoRows::new("app".parse().expect("a name"), kept.chain(going).collect(), Vec::new())
    }

    fn used(collected: &Collected) -> Vec<i64> {
        let rows = collected.repositories.iter().flat_map(|rows| &rows.rows);
        let mut used: Vec<_> = rows.filter_map(|row| Some(row.decision.expiry()?.used_at.0)).collect();
        used.sort_unstable();
        used
    }

    #[test]
    fn drops_kept_rows_before_rejecting_a_plan_as_too_large() {
        let limit = rows(10, &[1, 2]).weight();
        let mut collected = Collected::new(limit, false);
        assert!(collected.add(rows(10, &[1, 2])).is_ok() && !collected.kept_left_out);
        assert!(collected.add(rows(10, &[3])).is_ok() && collected.kept_left_out);
        assert_eq!(
            collected
                .repositories
                .iter()
                .map(|rows| (rows.rows.len(), rows.kept_left_out))
                .collect::<Vec<_>>(),
            [(2, 10), (1, 10)]
        );
        assert!(collected.add(rows(0, &[4; 20])).is_err());
    }

    #[test]
    fn keeps_the_first_steps_of_all_repositories_under_pressure() {
        let limit = rows(0, &[0; 10]).weight();
        let mut collected = Collected::new(limit, true);
        for repository in 0..20 {
            let times: Vec<_> = (0..8).map(|step| step * 100 + repository).collect();
            assert!(collected.add(rows(5, &times)).is_ok());
        }
        let used = used(&collected);
        assert!(collected.steps_left_out && !used.is_empty() && used.len() <= 10, "{used:?}");
        assert!(used.iter().all(|used| *used < 20), "{used:?}");
    }
}
