//! Accepting and deleting manifests. Stands for `registry/manifests.rs`.

use super::facts::{Repository, Row, Status};
use super::protocol::{Bug, Protocol};
use super::state::{Op, State, Who, edges_of};
use super::world::{Few, Manifest, Target, Tick};

impl Protocol {
    pub fn put(&self, state: &mut State, who: Who, manifest: Manifest) {
        let (repo, now) = (self.scenario.script(who).repo, state.now);
        let found = state.facts.repo(repo).manifests[manifest as usize];
        // What is hidden and needed by a manifest in the trash comes back with it.
        let restores = found.is_some_and(Row::is_in_trash);
        let finds_hidden =
            (restores && !self.has(Bug::RestoreFindsNothingHidden)) || self.has(Bug::PutIgnoresHidden);
        let is_there = |target: &Target| match *target {
            Target::Blob(blob) if finds_hidden => state.facts.repo(repo).links[blob as usize].is_some(),
            Target::Manifest(child) if self.has(Bug::PutIgnoresRemoved) => {
                state.facts.repo(repo).manifests[child as usize].is_some()
            }
            target => state.facts.repo(repo).is_visible(target),
        };
        let missing: Vec<Target> =
            manifest.needs().iter().copied().filter(|target| !is_there(target)).collect();
        if !missing.is_empty() {
            self.refuse(state, who, restores, &missing);
            return;
        }
        let is_tagged = self.op(state, who) == Some(Op::PutTagged(manifest));
        let facts = state.durably().repo_mut(repo);
        if found.is_none() || !self.has(Bug::PutKeepsOldEdges) {
            facts.edges[manifest as usize] = edges_of(manifest);
        }
        let orphan = found.is_some_and(|row| row.orphan) && self.has(Bug::PutLeavesOrphan);
        facts.manifests[manifest as usize] = Some(Row { orphan, ..Row::new(now) });
        facts.queue.insert(Target::Manifest(manifest));
        if restores && !self.has(Bug::RestoreLeavesHidden) {
            facts.unhide(manifest.needs());
        }
        if is_tagged {
            self.move_tag(facts, manifest, now);
        }
        self.assure(state, who, Target::Manifest(manifest));
        self.finish_op(state, who);
    }

    fn move_tag(&self, repo: &mut Repository, manifest: Manifest, now: Tick) {
        let Some(old) = repo.tag.replace(manifest) else { return };
        if !self.has(Bug::TagMoveLeasesNothing) {
            repo.lease(Target::Manifest(old), now);
        }
        repo.queue.insert(Target::Manifest(old));
    }

    /// The client gives up, and the properties look whether that was just.
    fn refuse(&self, state: &mut State, who: Who, from_trash: bool, missing: &[Target]) {
        let script = self.scenario.script(who);
        let client = state.client_mut(who);
        let assured = missing.iter().any(|target| client.assured[target.index()].is_some());
        client.done = u8::try_from(script.ops.len()).expect("a short script");
        state.ghost.refused = true;
        state.ghost.refused_within_lease |= assured;
        state.ghost.refused_from_trash |=
            from_trash && missing.iter().any(|target| matches!(target, Target::Blob(_)));
    }

    pub fn delete_manifest(&self, state: &mut State, who: Who, manifest: Manifest) {
        let (repo, now) = (self.scenario.script(who).repo, state.now);
        if self.is_deletable(state, repo, Target::Manifest(manifest)) {
            let facts = state.durably().repo_mut(repo);
            facts.remove(manifest, Status::Trash(now));
            facts.tag = facts.tag.filter(|tagged| *tagged != manifest);
            self.withdraw_assurances(state, repo, Target::Manifest(manifest));
        }
        self.finish_op(state, who);
    }
}
