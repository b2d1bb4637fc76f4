//! The protocol as a model: its scenario, its planted bug, and which step is taken by which room.

use std::fmt;

use stateright::{Model, Property};

use super::client::ClientStep;
use super::collector::CollectorStep;
use super::failure::Failure;
use super::properties;
use super::scenarios::Scenario;
use super::state::{State, Who};
use super::uploads::UndoStep;

/// What somebody might have left out. Each must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A HEAD that answers 200 renews no lease.
    HeadRenewsNothing,
    /// A HEAD of what is held renews no lease, though purges rely on it.
    HeldIsNotRenewed,
    /// The renewal of a lease is not durable when the HEAD is answered.
    RenewalIsLazy,
    /// Leases take no notice of uploads.
    LeaseIgnoresUploads,
    /// A tag's move gives the manifest that it leaves no lease.
    TagMoveLeasesNothing,
    /// A manifest PUT takes a removed child for a live one.
    PutIgnoresRemoved,
    /// A manifest PUT takes a hidden blob for a visible one.
    PutIgnoresHidden,
    /// A PUT of a manifest that has a row already leaves its edges as they are.
    PutKeepsOldEdges,
    /// A manifest comes back out of the trash while its blobs stay hidden.
    RestoreLeavesHidden,
    /// A manifest does not find its hidden blobs when it comes out of the trash.
    RestoreFindsNothingHidden,
    /// What a live manifest holds can be deleted.
    DeleteIgnoresHolders,
    /// A place is named by its digest alone.
    PathWithoutGeneration,
    /// Bytes are given their place and never synced.
    BytesNotSynced,
    /// Bytes are given their place before any row names it.
    NoIntent,
    /// The intent is not durable when the bytes are given their place.
    IntentIsLazy,
    /// A second closing request replaces the intent that a failed one has left.
    IntentReplaced,
    /// An upload is undone beneath the request that owns it.
    UndoDoesNotJoin,
    /// An intent is forgotten before it is certain that its place stays empty.
    UndoDoesNotSync,
    /// A commit of which it is unknown whether it took place is undone as if it had not.
    UndoDoesNotLook,
    /// The file is removed before the record.
    UnlinkBeforeRow,
    /// The file is removed before the removal of the record is durable.
    DoomIsLazy,
    /// The doomed row is deleted before it is certain that the file stays away.
    UnlinkDoesNotSync,
    /// A read that finds the bytes gone does not look where they are now.
    PullDoesNotLookAgain,
    /// What is being purged holds nothing any more, even before its edges are gone.
    PurgingHoldsNothing,
    /// A purge gives what it lets go no lease.
    PurgeLeasesNothing,
    /// A purge lets things go without having them reviewed.
    ReleaseQueuesNothing,
    /// A purge takes along what was put again since the removal.
    PurgeIgnoresPut,
    /// What follows its purged index or subject does so though it was put again.
    PutLeavesOrphan,
    /// A purge takes children along at once, as if they had been removed when their index was.
    CascadeInheritsRemoval,
    /// A subject's referrer holds it, like any other edge.
    SubjectEdgeHolds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Client(Who, ClientStep),
    Undo(Who, UndoStep),
    Collector(CollectorStep),
    Failure(Failure),
    /// The log of lazy transactions happens to be synced.
    SyncLog,
    Tick,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(who, step) => write!(f, "{who:?}: {step:?}"),
            Self::Undo(who, step) => write!(f, "undo {who:?}'s upload: {step:?}"),
            Self::Collector(step) => write!(f, "collector: {step:?}"),
            Self::Failure(failure) => write!(f, "failure: {failure:?}"),
            Self::SyncLog => f.write_str("the log is synced"),
            Self::Tick => f.write_str("time passes"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    pub scenario: Scenario,
    pub bug: Option<Planted>,
}

/// A bug, and the property that it must break. What comes after that is of no interest.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    pub bug: Bug,
    pub breaks: &'static str,
}

impl Protocol {
    pub fn has(&self, bug: Bug) -> bool {
        self.bug.is_some_and(|planted| planted.bug == bug)
    }

    /// Every step that is nobody's request.
    pub fn background(&self, state: &State) -> Vec<Action> {
        let undo = |who| self.undo_steps(state, who).into_iter().map(move |step| Action::Undo(who, step));
        let undos = Who::ALL.into_iter().flat_map(undo);
        undos.chain(self.collector_steps(state).into_iter().map(Action::Collector)).collect()
    }

    /// Time passes, so much that the log was synced meanwhile. What can't matter any more is forgotten, so
    /// that equal states look equal.
    pub fn tick(&self, state: &mut State) {
        state.now += 1;
        state.lasting = None;
        let term = self.scenario.lease;
        for repo in &mut state.facts.repos {
            for ended in &mut repo.past_uploads {
                *ended = ended.filter(|ended| ended + term > state.now);
            }
        }
        for who in Who::ALL {
            self.drop_vain_assurances(state, who);
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { faults: self.scenario.faults, ..(self.scenario.before)() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if self.bug.is_some_and(|planted| !properties::holds(planted.breaks, self, state)) {
            return;
        }
        actions.extend(
            Who::ALL.into_iter().filter_map(|who| Some(Action::Client(who, self.next_step(state, who)?))),
        );
        actions.extend(self.background(state));
        actions.extend(self.failures(state).into_iter().map(Action::Failure));
        if state.lasting.is_some() {
            actions.push(Action::SyncLog);
        }
        if state.now < self.scenario.end {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        match action {
            Action::Client(who, step) => self.take_step(&mut next, who, step),
            Action::Undo(who, step) => self.undo(&mut next, who, step),
            Action::Collector(step) => self.collect(&mut next, step),
            Action::Failure(failure) => self.fail(&mut next, failure),
            Action::SyncLog => next.lasting = None,
            Action::Tick => self.tick(&mut next),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = properties::all();
        properties
            .extend(self.scenario.reaches.iter().map(|(name, reached)| Property::sometimes(name, *reached)));
        properties
    }
}
