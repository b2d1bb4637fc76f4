//! Finds, mounts, reads and deletes existing content. Models `registry/blobs.rs`.

use super::metadata::Link;
use super::protocol::{Bug, Protocol};
use super::state::{ClientId, Stage, State};
use super::world::{Blob, Path, Repo, Target};

impl Protocol {
    pub fn head(&self, state: &mut State, id: ClientId, target: Target) {
        let repo = self.scenario.script(id).repo;
        let now = state.now;
        let found = state.metadata.repo(repo);
        if !found.is_visible(target) {
            match target {
                Target::Blob(_) => state.client_mut(id).stage = Stage::Absent,
                Target::Manifest(_) => self.finish_op(state, id),
            }
            return;
        }
        // A purge leases the targets it releases, and a tag move leases the manifest it leaves. So targets with a
        // holder need no write here.
        let is_tagged = found.tag.map(Target::Manifest) == Some(target);
        let is_leased_by_holder = found.is_held_live(target) && !self.writes_every_lease();
        let needs_lease = !is_tagged && !is_leased_by_holder;
        if needs_lease && !self.has(Bug::HeadRenewsNothing) {
            state.durably_unless(self.has(Bug::RenewalIsLazy)).repo_mut(repo).lease(target, now);
        }
        self.assure(state, id, target);
        self.finish_op(state, id);
    }

    fn writes_every_lease(&self) -> bool {
        self.scenario.budget && !self.has(Bug::HeldIsNotRenewed)
    }

    pub fn mount(&self, state: &mut State, id: ClientId, from: Repo, blob: Blob) {
        if !state.metadata.repo(from).is_visible(Target::Blob(blob)) {
            state.client_mut(id).stage = Stage::Absent;
            return;
        }
        self.serve(state, id, blob);
        self.assure(state, id, Target::Blob(blob));
        self.finish_op(state, id);
    }

    /// Links a blob to the client's repository and leases it.
    pub fn serve(&self, state: &mut State, id: ClientId, blob: Blob) {
        let now = state.now;
        let repo = state.durably().repo_mut(self.scenario.script(id).repo);
        repo.links[blob as usize] = Some(Link { leased: now, hidden: None });
        repo.queue.insert(Target::Blob(blob));
    }

    pub fn locate(&self, state: &mut State, id: ClientId, blob: Blob) {
        let found = state.metadata.repo(self.scenario.script(id).repo).is_visible(Target::Blob(blob));
        match state.metadata.blobs[blob as usize].filter(|_| found) {
            Some(path) => state.client_mut(id).stage = Stage::Found(path),
            None => self.finish_op(state, id),
        }
    }

    /// If the file is gone, another push has replaced it, so the client's request looks up the blob again.
    pub fn open(&self, state: &mut State, id: ClientId, path: Path) {
        if state.disk.file(path).is_visible() {
            self.finish_op(state, id);
        } else if self.has(Bug::PullDoesNotRetry) {
            state.ghost.pull_failed = state.metadata.blobs[path.blob as usize].is_some();
            self.finish_op(state, id);
        } else {
            state.client_mut(id).stage = Stage::Idle;
        }
    }

    pub fn delete_blob(&self, state: &mut State, id: ClientId, blob: Blob) {
        let repo = self.scenario.script(id).repo;
        let now = state.now;
        let target = Target::Blob(blob);
        if self.is_deletable(state, repo, target) {
            let metadata = state.durably().repo_mut(repo);
            metadata.links[blob as usize].as_mut().expect("a visible link").hidden = Some(now);
            metadata.queue.insert(target);
            self.withdraw_assurances(state, repo, target);
        }
        self.finish_op(state, id);
    }

    /// The registry answers 405 to the deletion of a target that a live manifest needs.
    pub fn is_deletable(&self, state: &State, repo: Repo, target: Target) -> bool {
        let found = state.metadata.repo(repo);
        found.is_visible(target) && (!found.is_held_live(target) || self.has(Bug::DeleteIgnoresHolders))
    }
}
