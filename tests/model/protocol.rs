//! The complete model: its scenario, its planted bug, and the dispatch of each step to its module.

use std::fmt;

use stateright::{Model, Property};

use super::client::ClientStep;
use super::collector::CollectorStep;
use super::failure::Failure;
use super::properties;
use super::scenarios::Scenario;
use super::state::{ClientId, State};
use super::uploads::UndoStep;

/// A rule of the protocol that is left out. The model must detect each one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A HEAD that answers 200 renews no lease.
    HeadRenewsNothing,
    /// A HEAD of a target with a holder renews no lease, although purges rely on it.
    HeldIsNotRenewed,
    /// The renewed lease is not durable when the HEAD is answered.
    RenewalIsLazy,
    /// Uploads do not extend leases.
    LeaseIgnoresUploads,
    /// A tag move gives no lease to the manifest that it leaves.
    TagMoveLeasesNothing,
    /// A manifest PUT treats a removed child as live.
    PutIgnoresRemoved,
    /// A manifest PUT treats a hidden blob as visible.
    PutIgnoresHidden,
    /// A PUT of a manifest that already has a row does not replace its edges.
    PutKeepsOldEdges,
    /// A manifest is restored from the trash while its blobs stay hidden.
    RestoreLeavesHidden,
    /// A restore from the trash does not find the manifest's hidden blobs.
    RestoreFindsNothingHidden,
    /// Targets of a live manifest can be deleted.
    DeleteIgnoresHolders,
    /// A path contains the digest but no generation.
    PathWithoutGeneration,
    /// A file is moved to its path and never synced.
    BytesNotSynced,
    /// A file is moved to its path before any row names the path.
    NoIntent,
    /// The intent is not durable when the file is moved to its path.
    IntentIsLazy,
    /// A second closing request replaces the intent left by a failed one.
    IntentReplaced,
    /// An upload is undone while a request owns it.
    UndoDoesNotJoin,
    /// An intent is forgotten before the removal of its file is durable.
    UndoDoesNotSync,
    /// A commit with an unknown outcome is undone as if it had failed.
    UndoDoesNotCheck,
    /// The file is removed before the record.
    UnlinkBeforeRow,
    /// The file is removed before the removal of the record is durable.
    PendingDeletionIsLazy,
    /// The pending-deletion row is deleted before the removal of the file is durable.
    UnlinkDoesNotSync,
    /// A read that finds the file gone does not look up its new path.
    PullDoesNotRetry,
    /// A purging manifest holds nothing, even before its edges are deleted.
    PurgingHoldsNothing,
    /// A purge gives no lease to the targets it releases.
    PurgeLeasesNothing,
    /// A purge releases targets without queueing them for review.
    ReleaseQueuesNothing,
    /// A purge also removes manifests that were put again after the removal.
    PurgeIgnoresPut,
    /// A manifest follows its purged index or subject although it was put again.
    PutLeavesOrphan,
    /// A purge removes children at once, as if they had been removed together with their index.
    CascadeInheritsRemoval,
    /// A referrer holds its subject, like any other edge.
    SubjectEdgeHolds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Client(ClientId, ClientStep),
    Undo(ClientId, UndoStep),
    Collector(CollectorStep),
    Failure(Failure),
    /// The log of lazy transactions is synced.
    SyncLog,
    Tick,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(id, step) => write!(f, "{id:?}: {step:?}"),
            Self::Undo(id, step) => write!(f, "undo {id:?}'s upload: {step:?}"),
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

/// A bug and the property that it must break. The model stops exploring after a violation.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    pub bug: Bug,
    pub breaks: &'static str,
}

impl Protocol {
    pub fn has(&self, bug: Bug) -> bool {
        self.bug.is_some_and(|planted| planted.bug == bug)
    }

    /// Every step that is not part of a client's request.
    pub fn background(&self, state: &State) -> Vec<Action> {
        let undo = |id| self.undo_steps(state, id).into_iter().map(move |step| Action::Undo(id, step));
        let undos = ClientId::ALL.into_iter().flat_map(undo);
        undos.chain(self.collector_steps(state).into_iter().map(Action::Collector)).collect()
    }

    /// Advances the clock by a tick, during which the log is synced. Drops data that no longer matters, so that
    /// equivalent states compare equal.
    pub fn tick(&self, state: &mut State) {
        state.now += 1;
        state.durable = None;
        let term = self.scenario.lease;
        for repo in &mut state.metadata.repos {
            for ended in &mut repo.past_uploads {
                *ended = ended.filter(|ended| ended + term > state.now);
            }
        }
        for id in ClientId::ALL {
            self.drop_stale_assurances(state, id);
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
        if self.bug.is_some_and(|planted| !properties::is_satisfied(planted.breaks, self, state)) {
            return;
        }
        actions.extend(
            ClientId::ALL.into_iter().filter_map(|id| Some(Action::Client(id, self.next_step(state, id)?))),
        );
        actions.extend(self.background(state));
        actions.extend(self.failures(state).into_iter().map(Action::Failure));
        if state.durable.is_some() {
            actions.push(Action::SyncLog);
        }
        if state.now < self.scenario.end {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        match action {
            Action::Client(id, step) => self.take_step(&mut next, id, step),
            Action::Undo(id, step) => self.undo(&mut next, id, step),
            Action::Collector(step) => self.collect(&mut next, step),
            Action::Failure(failure) => self.fail(&mut next, failure),
            Action::SyncLog => next.durable = None,
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
