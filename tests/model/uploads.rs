//! How a blob comes in: the chain of which each link survives a crash. Stands for `registry/uploads.rs`,
//! and its undoing for `registry/upkeep.rs`.

use super::client::ClientStep;
use super::disk::Entry;
use super::facts::Upload;
use super::protocol::{Bug, Protocol};
use super::state::{Op, Stage, State, Who};
use super::world::{Blob, Path, Target};

impl Protocol {
    /// A client has one upload at a time: one that a power cut brought back must expire first.
    pub fn begin_step(&self, state: &State, who: Who) -> Option<ClientStep> {
        state.facts.upload(who).is_none().then_some(ClientStep::Begin)
    }

    pub fn begin(&self, state: &mut State, who: Who) {
        let upload = Upload { repo: self.scenario.script(who).repo, began: state.now, intent: None };
        state.lazily().uploads[who as usize] = Some(upload);
        if let Some(Op::Abandon(_)) = self.op(state, who) {
            self.finish_op(state, who);
        } else {
            state.client_mut(who).stage = Stage::Begun;
        }
    }

    /// A path that never was. There is none while an earlier intent of the upload is not undone.
    pub fn fresh_path(&self, state: &State, who: Who, blob: Blob) -> Option<Path> {
        if self.has(Bug::PathWithoutGeneration) {
            return Some(Path { blob, generation: 0 });
        }
        let dangling = state.facts.upload(who).is_some_and(|upload| upload.intent.is_some());
        if dangling && !self.has(Bug::IntentReplaced) {
            return None;
        }
        let is_fresh = |path: &Path| {
            state.disk.file(*path).entry == Entry::Never
                && !state.facts.names(*path)
                && state.clients.iter().all(|client| client.stage.place() != Some(*path))
        };
        Some(Path::all_of(blob).find(is_fresh).expect("a scenario needs fewer generations than there are"))
    }

    pub fn intend(&self, state: &mut State, who: Who, path: Path) {
        if !self.has(Bug::NoIntent) {
            let facts = state.durably_unless(self.has(Bug::IntentIsLazy));
            let Some(upload) = facts.uploads[who as usize].as_mut() else {
                state.client_mut(who).stage = Stage::Idle;
                return;
            };
            upload.intent = Some(path);
        }
        state.client_mut(who).stage = Stage::Intended(path);
    }

    pub fn place(&self, state: &mut State, who: Who, path: Path) {
        state.ghost.rewritten |= state.disk.file(path).entry != Entry::Never;
        state.disk.place(path);
        state.client_mut(who).stage = Stage::Placed(path);
    }

    pub fn sync(&self, state: &mut State, who: Who, path: Path) {
        if !self.has(Bug::BytesNotSynced) {
            state.disk.sync_file(path);
        }
        state.disk.sync_directory(path);
        state.client_mut(who).stage = Stage::Synced(path);
    }

    pub fn commit(&self, state: &mut State, who: Who, path: Path) {
        if state.facts.upload(who).is_none() {
            state.client_mut(who).stage = Stage::Idle;
            return;
        }
        self.commit_facts(state, who, path);
        self.assure(state, who, Target::Blob(path.blob));
        self.finish_op(state, who);
    }

    /// The transaction alone. What was verified just now becomes the blob's, whatever it had before.
    pub fn commit_facts(&self, state: &mut State, who: Who, path: Path) {
        self.end_upload(state, who);
        let facts = state.durably();
        let replaced = facts.blobs[path.blob as usize].replace(path);
        if let Some(replaced) = replaced.filter(|replaced| *replaced != path) {
            facts.doomed.insert(replaced);
        }
        self.serve(state, who, path.blob);
    }

    /// Takes the upload's row away, and notes how long it extends leases.
    fn end_upload(&self, state: &mut State, who: Who) {
        let now = state.now;
        let Some(upload) = state.facts.uploads[who as usize].take() else { return };
        state.facts.repo_mut(upload.repo).past_uploads[usize::from(upload.began)] = Some(now);
    }
}

/// What becomes of an upload that no request will finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoStep {
    /// Bytes: they leave the place that no record names, and are staged again.
    Unpublish(Path),
    /// Bytes: the place's directory is synced.
    SyncDirectory(Path),
    /// Transaction: the upload is what it was before.
    ForgetIntent,
    /// Lazy transaction: the upload was idle for too long and is no more; what it intended is doomed.
    Expire,
}

impl Protocol {
    /// Undoing waits until the request that owned the upload has ended.
    pub fn undo_steps(&self, state: &State, who: Who) -> Vec<UndoStep> {
        let Some(upload) = state.facts.upload(who) else { return Vec::new() };
        let is_owned = state.client(who).stage.place().is_some();
        if is_owned && !self.has(Bug::UndoDoesNotJoin) {
            return Vec::new();
        }
        let is_idle = state.now >= upload.began + self.scenario.idle;
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

    pub fn undo(&self, state: &mut State, who: Who, step: UndoStep) {
        match step {
            UndoStep::Unpublish(path) => state.disk.unlink(path),
            UndoStep::SyncDirectory(path) => state.disk.sync_directory(path),
            UndoStep::ForgetIntent => {
                let upload = state.durably().uploads[who as usize].as_mut();
                upload.expect("an upload with an intent").intent = None;
            }
            UndoStep::Expire => {
                let facts = state.lazily();
                if let Some(path) = facts.upload(who).and_then(|upload| upload.intent) {
                    facts.doomed.insert(path);
                }
                self.end_upload(state, who);
                let client = state.client_mut(who);
                if client.stage == Stage::Begun {
                    client.stage = Stage::Idle;
                }
            }
        }
    }
}
