//! The progress and outcome of repository deletions and restorations, for clients that wait for them. Kept in memory
//! only: a restart forgets outcomes, but continues unfinished work.

use std::collections::VecDeque;

use tokio::sync::Mutex;

use crate::metadata::RepositoryStep;
use crate::oci::RepoName;

/// How many repositories are remembered.
const MAX_REPOSITORIES: usize = 100;

/// How many tags and digests are remembered for each repository.
const MAX_NAMES: usize = 100;

/// The latest steps. Locked during a step, so that work which has just ended is always found: here, or in the metadata
/// store as work under way.
pub(super) type Outcomes = Mutex<Latest>;

/// One step per repository, the newest last.
#[derive(Default)]
pub(super) struct Latest(VecDeque<RepositoryStep>);

impl Latest {
    /// Forgets finished work of a repository: new work is about to start.
    pub(super) fn forget_finished(&mut self, repo: &RepoName) {
        self.0.retain(|known| known.work.repo != *repo || !known.finished);
    }

    /// Records a step.
    pub(super) fn record(&mut self, step: &RepositoryStep) {
        let known = self.0.iter().position(|known| known.work.repo == step.work.repo);
        let known = known.and_then(|at| self.0.remove(at)).filter(|known| is_same(known, step));
        let mut latest = step.clone();
        if let Some(known) = known {
            latest.tags_in_use.splice(0..0, known.tags_in_use);
            latest.missing.splice(0..0, known.missing);
        }
        latest.tags_in_use.truncate(MAX_NAMES);
        latest.missing.truncate(MAX_NAMES);
        self.0.push_back(latest);
        if self.0.len() > MAX_REPOSITORIES {
            self.0.pop_front();
        }
    }

    /// Returns the state of the latest work on a repository.
    pub(super) fn of(&self, repo: &RepoName) -> Option<&RepositoryStep> {
        self.0.iter().find(|known| known.work.repo == *repo)
    }
}

fn is_same(one: &RepositoryStep, other: &RepositoryStep) -> bool {
    (one.work.kind, one.work.removal) == (other.work.kind, other.work.removal)
}
