//! Accepts and deletes manifests. Models `registry/manifests.rs`.

use super::metadata::{Repository, Row, Status};
use super::protocol::{Bug, Protocol};
use super::state::{ClientId, Op, State, edges_of};
use super::world::{Enumerable, Manifest, Target, Tick};

impl Protocol {
    pub fn put(&self, state: &mut State, id: ClientId, manifest: Manifest) {
        let repo = self.scenario.script(id).repo;
        let now = state.now;
        let found = state.metadata.repo(repo).manifests[manifest as usize];
        // Restoring a manifest from the trash also restores the hidden blobs that it needs.
        let restores = found.is_some_and(Row::is_in_trash);
        let finds_hidden =
            (restores && !self.has(Bug::RestoreFindsNothingHidden)) || self.has(Bug::PutIgnoresHidden);
        let is_there = |target: &Target| match *target {
            Target::Blob(blob) if finds_hidden => state.metadata.repo(repo).links[blob as usize].is_some(),
            Target::Manifest(child) if self.has(Bug::PutIgnoresRemoved) => {
                state.metadata.repo(repo).manifests[child as usize].is_some()
            }
            target => state.metadata.repo(repo).is_visible(target),
        };
        let missing: Vec<Target> =
            manifest.needs().iter().copied().filter(|target| !is_there(target)).collect();
        if !missing.is_empty() {
            self.reject(state, id, restores, &missing);
            return;
        }
        let is_tagged = self.op(state, id) == Some(Op::PutTagged(manifest));
        let metadata = state.durably().repo_mut(repo);
        if found.is_none() || !self.has(Bug::PutKeepsOldEdges) {
            metadata.edges[manifest as usize] = edges_of(manifest);
        }
        let orphan = found.is_some_and(|row| row.orphan) && self.has(Bug::PutLeavesOrphan);
        metadata.manifests[manifest as usize] = Some(Row { orphan, ..Row::new(now) });
        metadata.queue.insert(Target::Manifest(manifest));
        if restores && !self.has(Bug::RestoreLeavesHidden) {
            metadata.unhide(manifest.needs());
        }
        if is_tagged {
            self.move_tag(metadata, manifest, now);
        }
        self.assure(state, id, Target::Manifest(manifest));
        self.finish_op(state, id);
    }

    fn move_tag(&self, repo: &mut Repository, manifest: Manifest, now: Tick) {
        let Some(old) = repo.tag.replace(manifest) else { return };
        if !self.has(Bug::TagMoveLeasesNothing) {
            repo.lease(Target::Manifest(old), now);
        }
        repo.queue.insert(Target::Manifest(old));
    }

    /// Rejects the PUT, after which the client gives up. The properties check whether the rejection was correct.
    fn reject(&self, state: &mut State, id: ClientId, from_trash: bool, missing: &[Target]) {
        let script = self.scenario.script(id);
        let client = state.client_mut(id);
        let assured = missing.iter().any(|target| client.assured[target.index()].is_some());
        client.done = u8::try_from(script.ops.len()).expect("a short script");
        state.ghost.refused = true;
        state.ghost.refused_within_lease |= assured;
        state.ghost.refused_from_trash |=
            from_trash && missing.iter().any(|target| matches!(target, Target::Blob(_)));
    }

    pub fn delete_manifest(&self, state: &mut State, id: ClientId, manifest: Manifest) {
        let repo = self.scenario.script(id).repo;
        let now = state.now;
        if self.is_deletable(state, repo, Target::Manifest(manifest)) {
            let metadata = state.durably().repo_mut(repo);
            metadata.remove(manifest, Status::Trash(now));
            metadata.tag = metadata.tag.filter(|tagged| *tagged != manifest);
            self.withdraw_assurances(state, repo, Target::Manifest(manifest));
        }
        self.finish_op(state, id);
    }
}
