//! What a client does next, and what it may rely on. Its requests are in `uploads`, `blobs` and `manifests`.

use super::protocol::Protocol;
use super::state::{Op, Stage, State, Who};
use super::world::{Blob, Few, Manifest, Path, Repo, Target};

/// A request, or one step of a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientStep {
    /// Transaction: is it visible? If so renew its lease.
    Head(Target),
    /// Transaction: link and lease a blob that another repository serves.
    Mount(Repo, Blob),
    /// Transaction: where are the bytes?
    Look(Blob),
    /// Bytes: opened where they were said to be.
    Open(Path),
    /// Lazy transaction: open an upload. Its bytes follow.
    Begin,
    /// Transaction: the upload is about to become this path.
    Intend(Path),
    /// Bytes: given their place.
    Place(Path),
    /// Bytes: they and their directory are synced.
    Sync(Path),
    /// Transaction: consume the upload; the path becomes the blob's, linked and leased.
    Commit(Path),
    /// Transaction: check every target, then store manifest, edges and tag.
    Put(Manifest),
    /// Transaction: to the trash.
    DeleteManifest(Manifest),
    /// Transaction: hide the link.
    DeleteBlob(Blob),
}

impl Protocol {
    pub fn op(&self, state: &State, who: Who) -> Option<Op> {
        self.scenario.script(who).ops.get(usize::from(state.client(who).done)).copied()
    }

    pub fn is_done(&self, state: &State, who: Who) -> bool {
        self.op(state, who).is_none()
    }

    pub fn next_step(&self, state: &State, who: Who) -> Option<ClientStep> {
        let op = self.op(state, who)?;
        Some(match state.client(who).stage {
            Stage::Idle => match op {
                Op::Upload(_) | Op::Abandon(_) => self.begin_step(state, who)?,
                Op::Ensure(blob) => ClientStep::Head(Target::Blob(blob)),
                Op::Mount(from, blob) => ClientStep::Mount(from, blob),
                Op::Pull(blob) => ClientStep::Look(blob),
                Op::HeadManifest(manifest) => ClientStep::Head(Target::Manifest(manifest)),
                Op::Put(manifest) | Op::PutTagged(manifest) => ClientStep::Put(manifest),
                Op::DeleteManifest(manifest) => ClientStep::DeleteManifest(manifest),
                Op::DeleteBlob(blob) => ClientStep::DeleteBlob(blob),
            },
            Stage::Absent => self.begin_step(state, who)?,
            Stage::Begun => ClientStep::Intend(self.fresh_path(state, who, op.uploads()?)?),
            Stage::Intended(path) => ClientStep::Place(path),
            Stage::Placed(path) => ClientStep::Sync(path),
            Stage::Synced(path) => ClientStep::Commit(path),
            Stage::Found(path) => ClientStep::Open(path),
        })
    }

    pub fn take_step(&self, state: &mut State, who: Who, step: ClientStep) {
        match step {
            ClientStep::Head(target) => self.head(state, who, target),
            ClientStep::Mount(from, blob) => self.mount(state, who, from, blob),
            ClientStep::Look(blob) => self.look(state, who, blob),
            ClientStep::Open(path) => self.open(state, who, path),
            ClientStep::Begin => self.begin(state, who),
            ClientStep::Intend(path) => self.intend(state, who, path),
            ClientStep::Place(path) => self.place(state, who, path),
            ClientStep::Sync(path) => self.sync(state, who, path),
            ClientStep::Commit(path) => self.commit(state, who, path),
            ClientStep::Put(manifest) => self.put(state, who, manifest),
            ClientStep::DeleteManifest(manifest) => self.delete_manifest(state, who, manifest),
            ClientStep::DeleteBlob(blob) => self.delete_blob(state, who, blob),
        }
        self.drop_vain_assurances(state, who);
    }

    pub fn finish_op(&self, state: &mut State, who: Who) {
        let client = state.client_mut(who);
        client.done += 1;
        client.stage = Stage::Idle;
    }

    /// The client is told that the target is there.
    pub fn assure(&self, state: &mut State, who: Who, target: Target) {
        let now = state.now;
        state.client_mut(who).assured[target.index()] = Some(now);
    }

    /// Somebody deleted the target, so nobody can rely on having seen it.
    pub fn withdraw_assurances(&self, state: &mut State, repo: Repo, target: Target) {
        for who in Who::ALL.into_iter().filter(|who| self.scenario.script(*who).repo == repo) {
            state.client_mut(who).assured[target.index()] = None;
        }
    }

    /// Forgets what a client was told where its lease is over or the client won't refer to it any more.
    pub fn drop_vain_assurances(&self, state: &mut State, who: Who) {
        let script = self.scenario.script(who);
        let ahead = script.ops.iter().skip(usize::from(state.client(who).done));
        let wanted: Vec<Target> =
            ahead.filter_map(|op| op.puts()).flat_map(Manifest::needs).copied().collect();
        let (facts, now, term) = (state.facts, state.now, self.scenario.lease);
        for target in Target::all() {
            let assured = &mut state.client_mut(who).assured[target.index()];
            let is_vain =
                |at| !wanted.contains(&target) || now >= facts.lease_end(script.repo, at, term, now);
            *assured = assured.filter(|at| !is_vain(*at));
        }
    }
}
