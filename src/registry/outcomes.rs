//! What became of the deletions and restorations of repositories, for those who wait for them. Kept in memory:
//! a restart forgets it, and goes on with what had not come to its end.

use std::collections::VecDeque;

use tokio::sync::Mutex;

use crate::metadata::RepositoryStep;
use crate::oci::RepoName;

/// How many repositories are remembered.
const MOST: usize = 100;

/// How many tags and digests of each.
const MOST_NAMED: usize = 100;

/// The latest steps. Locked while one is taken, so that nobody finds work that has ended in neither place.
pub(super) type Outcomes = Mutex<Latest>;

/// One for each repository, the newest last.
#[derive(Default)]
pub(super) struct Latest(VecDeque<RepositoryStep>);

impl Latest {
    /// Something is about to begin: how the last work ended is of no interest any more.
    pub(super) fn forget_finished(&mut self, repo: &RepoName) {
        self.0.retain(|known| known.work.repo != *repo || !known.finished);
    }

    /// A step was taken.
    pub(super) fn note(&mut self, step: &RepositoryStep) {
        let known = self.0.iter().position(|known| known.work.repo == step.work.repo);
        let known = known.and_then(|at| self.0.remove(at)).filter(|known| is_same(known, step));
        let mut latest = step.clone();
        if let Some(known) = known {
            latest.taken.splice(0..0, known.taken);
            latest.missing.splice(0..0, known.missing);
        }
        latest.taken.truncate(MOST_NAMED);
        latest.missing.truncate(MOST_NAMED);
        self.0.push_back(latest);
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// How the last that was done to a repository stands.
    pub(super) fn of(&self, repo: &RepoName) -> Option<&RepositoryStep> {
        self.0.iter().find(|known| known.work.repo == *repo)
    }
}

fn is_same(one: &RepositoryStep, other: &RepositoryStep) -> bool {
    (one.work.kind, one.work.removal) == (other.work.kind, other.work.removal)
}
