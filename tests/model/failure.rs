//! The failures: a failed request, a commit whose result is lost, a process crash, a power cut. The server restarts at
//! once. It may undo interrupted uploads at any time, because the recorded intents identify them.

use super::client::ClientStep;
use super::protocol::{Bug, Protocol};
use super::state::{ClientId, Stage, State};
use super::world::{Path, Set};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A closing request ends without a response.
    Request(ClientId),
    /// A commit succeeds, but its request gets an error.
    LostCommit(ClientId, Path),
    /// All requests end without a response.
    Crash,
    /// All requests end without a response, and everything not durable is lost except these names.
    PowerCut(Set<Path>),
}

impl Protocol {
    /// Every failure that would change the state.
    pub fn failures(&self, state: &State) -> Vec<Failure> {
        if state.faults == 0 {
            return Vec::new();
        }
        let closing = ClientId::ALL.into_iter().filter(|id| state.client(*id).stage.place().is_some());
        let mut failures: Vec<Failure> = closing.map(Failure::Request).collect();
        if failures.len() > 1 {
            failures.push(Failure::Crash);
        }
        for id in ClientId::ALL {
            if let Some(ClientStep::Commit(path)) = self.next_step(state, id) {
                failures.push(Failure::LostCommit(id, path));
            }
        }
        let unsettled = state.disk.unsettled();
        if !failures.is_empty() || !unsettled.is_empty() || state.durable.is_some() {
            failures.extend(unsettled.subsets().map(Failure::PowerCut));
        }
        failures
    }

    pub fn fail(&self, state: &mut State, failure: Failure) {
        match failure {
            Failure::Request(id) => state.client_mut(id).stage = Stage::Started,
            Failure::LostCommit(id, path) => {
                self.commit_metadata(state, id, path);
                state.client_mut(id).stage = Stage::Idle;
                if self.has(Bug::UndoDoesNotCheck) {
                    state.disk.unlink(path);
                }
            }
            Failure::Crash => ClientId::ALL.into_iter().for_each(|id| state.lose_request(id)),
            Failure::PowerCut(kept) => {
                state.disk.cut_power(kept);
                state.metadata = state.durable.take().unwrap_or(state.metadata);
                ClientId::ALL.into_iter().for_each(|id| state.lose_request(id));
            }
        }
        state.spend_fault();
    }
}

impl State {
    /// Ends a client's request. The client returns to its upload if the upload still exists.
    fn lose_request(&mut self, id: ClientId) {
        let is_closed = matches!(self.client(id).stage, Stage::Idle | Stage::Absent | Stage::Found(_));
        let is_open = !is_closed && self.metadata.upload(id).is_some();
        self.client_mut(id).stage = if is_open { Stage::Started } else { Stage::Idle };
    }
}
