//! Uploads a blob in steps that each survive a crash, and undoes interrupted ones. Models `registry/uploads.rs`.

use super::client::ClientStep;
use super::disk::Entry;
use super::metadata::Upload;
use super::protocol::{Bug, Protocol};
use super::state::{ClientId, Op, Stage, State};
use super::world::{Blob, Path, Target};

impl Protocol {
    /// A client has one upload at a time. An upload restored by a power cut must expire first.
    pub fn start_step(&self, state: &State, id: ClientId) -> Option<ClientStep> {
        state.metadata.upload(id).is_none().then_some(ClientStep::StartUpload)
    }

    pub fn start_upload(&self, state: &mut State, id: ClientId) {
        let upload = Upload { repo: self.scenario.script(id).repo, started: state.now, intent: None };
        state.lazily().uploads[id as usize] = Some(upload);
        if let Some(Op::Abandon(_)) = self.op(state, id) {
            self.finish_op(state, id);
        } else {
            state.client_mut(id).stage = Stage::Started;
        }
    }

    /// A path that has never existed. Returns `None` until an earlier intent of the upload is undone.
    pub fn fresh_path(&self, state: &State, id: ClientId, blob: Blob) -> Option<Path> {
        if self.has(Bug::PathWithoutGeneration) {
            return Some(Path { blob, generation: 0 });
        }
        let dangling = state.metadata.upload(id).is_some_and(|upload| upload.intent.is_some());
        if dangling && !self.has(Bug::IntentReplaced) {
            return None;
        }
        let is_fresh = |path: &Path| {
            state.disk.file(*path).entry == Entry::Never
                && !state.metadata.refers_to(*path)
                && state.clients.iter().all(|client| client.stage.place() != Some(*path))
        };
        Some(Path::all_of(blob).find(is_fresh).expect("a scenario needs fewer generations than there are"))
    }

    pub fn intend(&self, state: &mut State, id: ClientId, path: Path) {
        if !self.has(Bug::NoIntent) {
            let metadata = state.durably_unless(self.has(Bug::IntentIsLazy));
            let Some(upload) = metadata.uploads[id as usize].as_mut() else {
                state.client_mut(id).stage = Stage::Idle;
                return;
            };
            upload.intent = Some(path);
        }
        state.client_mut(id).stage = Stage::Intended(path);
    }

    pub fn place(&self, state: &mut State, id: ClientId, path: Path) {
        state.ghost.rewritten |= state.disk.file(path).entry != Entry::Never;
        state.disk.place(path);
        state.client_mut(id).stage = Stage::Placed(path);
    }

    pub fn sync(&self, state: &mut State, id: ClientId, path: Path) {
        if !self.has(Bug::BytesNotSynced) {
            state.disk.sync_file(path);
        }
        state.disk.sync_directory(path);
        state.client_mut(id).stage = Stage::Synced(path);
    }

    pub fn commit(&self, state: &mut State, id: ClientId, path: Path) {
        if state.metadata.upload(id).is_none() {
            state.client_mut(id).stage = Stage::Idle;
            return;
        }
        self.commit_metadata(state, id, path);
        self.assure(state, id, Target::Blob(path.blob));
        self.finish_op(state, id);
    }

    /// The transaction alone. The verified file becomes the blob's, and replaces any earlier one.
    pub fn commit_metadata(&self, state: &mut State, id: ClientId, path: Path) {
        self.end_upload(state, id);
        let metadata = state.durably();
        let replaced = metadata.blobs[path.blob as usize].replace(path);
        if let Some(replaced) = replaced.filter(|replaced| *replaced != path) {
            metadata.pending_deletion.insert(replaced);
        }
        self.serve(state, id, path.blob);
    }

    /// Deletes the upload's row and records when the upload ended, which extends leases.
    fn end_upload(&self, state: &mut State, id: ClientId) {
        let now = state.now;
        let Some(upload) = state.metadata.uploads[id as usize].take() else { return };
        state.metadata.repo_mut(upload.repo).past_uploads[usize::from(upload.started)] = Some(now);
    }
}

/// A step that undoes an upload that no request will finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoStep {
    /// File operation: move the file from a path without a record back to staging.
    Unpublish(Path),
    /// File operation: sync the directory of the path.
    SyncDirectory(Path),
    /// Transaction: delete the intent, so that the upload is as before.
    ForgetIntent,
    /// Lazy transaction: delete an upload that was idle for too long. Its intended path becomes pending deletion.
    Expire,
}

impl Protocol {
    /// The possible undo steps. There are none until the request that owned the upload has ended.
    pub fn undo_steps(&self, state: &State, id: ClientId) -> Vec<UndoStep> {
        let Some(upload) = state.metadata.upload(id) else { return Vec::new() };
        let is_owned = state.client(id).stage.place().is_some();
        if is_owned && !self.has(Bug::UndoDoesNotJoin) {
            return Vec::new();
        }
        let is_idle = state.now >= upload.started + self.scenario.idle;
        let undo = upload.intent.map(|path| self.undo_intent(state, path));
        undo.into_iter().chain(is_idle.then_some(UndoStep::Expire)).collect()
    }

    fn undo_intent(&self, state: &State, path: Path) -> UndoStep {
        match state.disk.file(path).entry {
            Entry::Fresh | Entry::Durable => UndoStep::Unpublish(path),
            Entry::Fading if !self.has(Bug::UndoDoesNotSync) => UndoStep::SyncDirectory(path),
            Entry::Fading | Entry::Never | Entry::Gone => UndoStep::ForgetIntent,
        }
    }

    pub fn undo(&self, state: &mut State, id: ClientId, step: UndoStep) {
        match step {
            UndoStep::Unpublish(path) => state.disk.unlink(path),
            UndoStep::SyncDirectory(path) => state.disk.sync_directory(path),
            UndoStep::ForgetIntent => {
                let upload = state.durably().uploads[id as usize].as_mut();
                upload.expect("an upload with an intent").intent = None;
            }
            UndoStep::Expire => {
                let metadata = state.lazily();
                if let Some(path) = metadata.upload(id).and_then(|upload| upload.intent) {
                    metadata.pending_deletion.insert(path);
                }
                self.end_upload(state, id);
                let client = state.client_mut(id);
                if client.stage == Stage::Started {
                    client.stage = Stage::Idle;
                }
            }
        }
    }
}
