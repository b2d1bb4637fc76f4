//! Chooses the next step of a client and records the assurances it may rely on. Its requests are in `uploads`,
//! `blobs` and `manifests`.

use super::protocol::Protocol;
use super::state::{ClientId, Op, Stage, State};
use super::world::{Blob, Enumerable, Manifest, Path, Repo, Target};

/// A request, or one step of a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientStep {
    /// Transaction: renew the lease of a target if it is visible.
    Head(Target),
    /// Transaction: link and lease a blob that another repository serves.
    Mount(Repo, Blob),
    /// Transaction: look up the current path of a blob.
    Locate(Blob),
    /// File operation: open the path that was looked up.
    Open(Path),
    /// Lazy transaction: open an upload.
    StartUpload,
    /// Transaction: record that the upload is about to become this path.
    Intend(Path),
    /// File operation: move the staged file to its path.
    Place(Path),
    /// File operation: sync the file and its directory.
    Sync(Path),
    /// Transaction: consume the upload and make the path the blob's, linked and leased.
    Commit(Path),
    /// Transaction: check every target, then store manifest, edges and tag.
    Put(Manifest),
    /// Transaction: move the manifest to the trash.
    DeleteManifest(Manifest),
    /// Transaction: hide the link.
    DeleteBlob(Blob),
}

impl Protocol {
    pub fn op(&self, state: &State, id: ClientId) -> Option<Op> {
        self.scenario.script(id).ops.get(usize::from(state.client(id).done)).copied()
    }

    pub fn is_done(&self, state: &State, id: ClientId) -> bool {
        self.op(state, id).is_none()
    }

    pub fn next_step(&self, state: &State, id: ClientId) -> Option<ClientStep> {
        let op = self.op(state, id)?;
        Some(match state.client(id).stage {
            Stage::Idle => match op {
                Op::Upload(_) | Op::Abandon(_) => self.start_step(state, id)?,
                Op::Ensure(blob) => ClientStep::Head(Target::Blob(blob)),
                Op::Mount(from, blob) => ClientStep::Mount(from, blob),
                Op::Pull(blob) => ClientStep::Locate(blob),
                Op::HeadManifest(manifest) => ClientStep::Head(Target::Manifest(manifest)),
                Op::Put(manifest) | Op::PutTagged(manifest) => ClientStep::Put(manifest),
                Op::DeleteManifest(manifest) => ClientStep::DeleteManifest(manifest),
                Op::DeleteBlob(blob) => ClientStep::DeleteBlob(blob),
            },
            Stage::Absent => self.start_step(state, id)?,
            Stage::Started => ClientStep::Intend(self.fresh_path(state, id, op.uploads()?)?),
            Stage::Intended(path) => ClientStep::Place(path),
            Stage::Placed(path) => ClientStep::Sync(path),
            Stage::Synced(path) => ClientStep::Commit(path),
            Stage::Found(path) => ClientStep::Open(path),
        })
    }

    pub fn take_step(&self, state: &mut State, id: ClientId, step: ClientStep) {
        match step {
            ClientStep::Head(target) => self.head(state, id, target),
            ClientStep::Mount(from, blob) => self.mount(state, id, from, blob),
            ClientStep::Locate(blob) => self.locate(state, id, blob),
            ClientStep::Open(path) => self.open(state, id, path),
            ClientStep::StartUpload => self.start_upload(state, id),
            ClientStep::Intend(path) => self.intend(state, id, path),
            ClientStep::Place(path) => self.place(state, id, path),
            ClientStep::Sync(path) => self.sync(state, id, path),
            ClientStep::Commit(path) => self.commit(state, id, path),
            ClientStep::Put(manifest) => self.put(state, id, manifest),
            ClientStep::DeleteManifest(manifest) => self.delete_manifest(state, id, manifest),
            ClientStep::DeleteBlob(blob) => self.delete_blob(state, id, blob),
        }
        self.drop_stale_assurances(state, id);
    }

    pub fn finish_op(&self, state: &mut State, id: ClientId) {
        let client = state.client_mut(id);
        client.done += 1;
        client.stage = Stage::Idle;
    }

    /// Records that the client has learned that the target exists.
    pub fn assure(&self, state: &mut State, id: ClientId, target: Target) {
        let now = state.now;
        state.client_mut(id).assured[target.index()] = Some(now);
    }

    /// Withdraws the assurances of every client of the repository after a deletion of the target.
    pub fn withdraw_assurances(&self, state: &mut State, repo: Repo, target: Target) {
        for id in ClientId::ALL.into_iter().filter(|id| self.scenario.script(*id).repo == repo) {
            state.client_mut(id).assured[target.index()] = None;
        }
    }

    /// Drops assurances whose lease has ended, or whose target the client will not refer to any more.
    pub fn drop_stale_assurances(&self, state: &mut State, id: ClientId) {
        let script = self.scenario.script(id);
        let ahead = script.ops.iter().skip(usize::from(state.client(id).done));
        let wanted: Vec<Target> =
            ahead.filter_map(|op| op.puts()).flat_map(Manifest::needs).copied().collect();
        let metadata = state.metadata;
        let now = state.now;
        let term = self.scenario.lease;
        for target in Target::all() {
            let assured = &mut state.client_mut(id).assured[target.index()];
            let is_stale =
                |at| !wanted.contains(&target) || now >= metadata.lease_end(script.repo, at, term, now);
            *assured = assured.filter(|at| !is_stale(*at));
        }
    }
}
