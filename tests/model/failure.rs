//! What goes wrong: a request dies, a commit's answer is lost, the process dies, the power goes. The server is
//! back at once; what it undoes then it may undo at any time, as the intents are there to tell.

use super::client::ClientStep;
use super::protocol::{Bug, Protocol};
use super::state::{Stage, State, Who};
use super::world::{Path, Set};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A closing request ends without an answer.
    Request(Who),
    /// A commit takes place, and its request is told that it failed.
    LostCommit(Who, Path),
    /// All requests end without an answer.
    Crash,
    /// So they do, and what was not durable is lost, but for these names.
    PowerCut(Set<Path>),
}

impl Protocol {
    /// Every failure that would change something.
    pub fn failures(&self, state: &State) -> Vec<Failure> {
        if state.faults == 0 {
            return Vec::new();
        }
        let closing = Who::ALL.into_iter().filter(|who| state.client(*who).stage.place().is_some());
        let mut failures: Vec<Failure> = closing.map(Failure::Request).collect();
        if failures.len() > 1 {
            failures.push(Failure::Crash);
        }
        for who in Who::ALL {
            if let Some(ClientStep::Commit(path)) = self.next_step(state, who) {
                failures.push(Failure::LostCommit(who, path));
            }
        }
        let unsettled = state.disk.unsettled();
        if !failures.is_empty() || !unsettled.is_empty() || state.lasting.is_some() {
            failures.extend(unsettled.subsets().map(Failure::PowerCut));
        }
        failures
    }

    pub fn fail(&self, state: &mut State, failure: Failure) {
        match failure {
            Failure::Request(who) => state.client_mut(who).stage = Stage::Begun,
            Failure::LostCommit(who, path) => {
                self.commit_facts(state, who, path);
                state.client_mut(who).stage = Stage::Idle;
                if self.has(Bug::UndoDoesNotLook) {
                    state.disk.unlink(path);
                }
            }
            Failure::Crash => Who::ALL.into_iter().for_each(|who| state.lose_request(who)),
            Failure::PowerCut(kept) => {
                state.disk.cut_power(kept);
                state.facts = state.lasting.take().unwrap_or(state.facts);
                Who::ALL.into_iter().for_each(|who| state.lose_request(who));
            }
        }
        state.spend_fault();
    }
}

impl State {
    /// A client whose request died comes back to its upload if there still is one.
    fn lose_request(&mut self, who: Who) {
        let is_closed = matches!(self.client(who).stage, Stage::Idle | Stage::Absent | Stage::Found(_));
        let is_open = !is_closed && self.facts.upload(who).is_some();
        self.client_mut(who).stage = if is_open { Stage::Begun } else { Stage::Idle };
    }
}
