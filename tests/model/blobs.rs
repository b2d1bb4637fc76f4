//! Finding, mounting, reading and deleting what is there. Stands for `registry/blobs.rs`.

use super::facts::Link;
use super::protocol::{Bug, Protocol};
use super::state::{Stage, State, Who};
use super::world::{Blob, Path, Repo, Target};

impl Protocol {
    pub fn head(&self, state: &mut State, who: Who, target: Target) {
        let (repo, now) = (self.scenario.script(who).repo, state.now);
        let found = state.facts.repo(repo);
        if !found.is_visible(target) {
            match target {
                Target::Blob(_) => state.client_mut(who).stage = Stage::Absent,
                Target::Manifest(_) => self.finish_op(state, who),
            }
            return;
        }
        // A purge leases what it lets go, and a tag's move what it leaves: what they hold needs no write.
        let is_tagged = found.tag.map(Target::Manifest) == Some(target);
        let is_leased_by_holder = found.is_held_live(target) && !self.writes_every_lease();
        let needs_lease = !is_tagged && !is_leased_by_holder;
        if needs_lease && !self.has(Bug::HeadRenewsNothing) {
            state.durably_unless(self.has(Bug::RenewalIsLazy)).repo_mut(repo).lease(target, now);
        }
        self.assure(state, who, target);
        self.finish_op(state, who);
    }

    fn writes_every_lease(&self) -> bool {
        self.scenario.budget && !self.has(Bug::HeldIsNotRenewed)
    }

    pub fn mount(&self, state: &mut State, who: Who, from: Repo, blob: Blob) {
        if !state.facts.repo(from).is_visible(Target::Blob(blob)) {
            state.client_mut(who).stage = Stage::Absent;
            return;
        }
        self.serve(state, who, blob);
        self.assure(state, who, Target::Blob(blob));
        self.finish_op(state, who);
    }

    /// Lets the client's repository serve a blob, and leases it.
    pub fn serve(&self, state: &mut State, who: Who, blob: Blob) {
        let now = state.now;
        let repo = state.durably().repo_mut(self.scenario.script(who).repo);
        repo.links[blob as usize] = Some(Link { leased: now, hidden: None });
        repo.queue.insert(Target::Blob(blob));
    }

    pub fn look(&self, state: &mut State, who: Who, blob: Blob) {
        let found = state.facts.repo(self.scenario.script(who).repo).is_visible(Target::Blob(blob));
        match state.facts.blobs[blob as usize].filter(|_| found) {
            Some(path) => state.client_mut(who).stage = Stage::Found(path),
            None => self.finish_op(state, who),
        }
    }

    /// Where the bytes are gone, another push has replaced them, so the client's request looks again.
    pub fn open(&self, state: &mut State, who: Who, path: Path) {
        if state.disk.file(path).is_visible() {
            self.finish_op(state, who);
        } else if self.has(Bug::PullDoesNotLookAgain) {
            state.ghost.pull_failed = state.facts.blobs[path.blob as usize].is_some();
            self.finish_op(state, who);
        } else {
            state.client_mut(who).stage = Stage::Idle;
        }
    }

    pub fn delete_blob(&self, state: &mut State, who: Who, blob: Blob) {
        let (repo, now, target) = (self.scenario.script(who).repo, state.now, Target::Blob(blob));
        if self.is_deletable(state, repo, target) {
            let facts = state.durably().repo_mut(repo);
            facts.links[blob as usize].as_mut().expect("a visible link").hidden = Some(now);
            facts.queue.insert(target);
            self.withdraw_assurances(state, repo, target);
        }
        self.finish_op(state, who);
    }

    /// What a live manifest holds is refused with 405.
    pub fn is_deletable(&self, state: &State, repo: Repo, target: Target) -> bool {
        let found = state.facts.repo(repo);
        found.is_visible(target) && (!found.is_held_live(target) || self.has(Bug::DeleteIgnoresHolders))
    }
}
