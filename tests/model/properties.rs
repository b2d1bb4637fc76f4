//! What must hold in every state. The comments name the promises of the design that each one is.

use stateright::{Model, Property};

use super::facts::{Facts, Row};
use super::protocol::Protocol;
use super::state::{State, Who};
use super::world::{Blob, Few, Manifest, Path, Repo, Target};

/// Promise 1: bytes before row, row before bytes.
pub const NO_DANGLING: &str = "a record points at bytes that are durable";
/// Promise 2, and the reason for generations.
pub const NO_REWRITE: &str = "no path is written twice";
/// Promise 2: an accepted manifest is whole.
pub const WHOLE: &str = "a live manifest can be pulled";
/// The three windows that lose data: upload, HEAD and mount, each before the manifest PUT.
pub const LEASED: &str = "what a client was told within the lease, it can refer to";
/// A deletion can be undone while the trash time runs.
pub const UNDOABLE: &str = "what is in the trash can be restored";
/// Promise 2: what was put goes by a deletion or a policy, and not with what had been deleted before.
pub const KEPT: &str = "a purge takes nothing along that was put since the removal";
/// Promise 2 for a reader: bytes that are replaced are found where they are then.
pub const PULLED: &str = "a blob that is there can be read";
/// The store stays small: bytes.
pub const NO_LEAK: &str = "a row names every file";
/// The store stays small: rows. With a collector that goes on, this makes everything go in the end.
pub const QUEUED: &str = "what nothing holds is to be reviewed";
/// And so it does.
pub const DRAINED: &str = "in the end only what is held remains";

pub fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(NO_DANGLING, |_, state| no_dangling(state)),
        Property::always(NO_REWRITE, |_, state: &State| !state.ghost.rewritten),
        Property::always(WHOLE, |_, state| whole(state)),
        Property::always(LEASED, |_, state: &State| !state.ghost.refused_within_lease),
        Property::always(UNDOABLE, |_, state: &State| !state.ghost.refused_from_trash),
        Property::always(KEPT, |_, state: &State| !state.ghost.taken),
        Property::always(PULLED, |_, state: &State| !state.ghost.pull_failed),
        Property::always(NO_LEAK, |_, state| no_leak(state)),
        Property::always(QUEUED, queued),
        Property::always(DRAINED, |model, state| !model.is_over(state) || drained(model, state)),
    ]
}

/// Whether one of them holds.
pub fn holds(name: &str, model: &Protocol, state: &State) -> bool {
    all().iter().filter(|property| property.name == name).all(|property| (property.condition)(model, state))
}

fn no_dangling(state: &State) -> bool {
    state.facts.blobs.iter().flatten().all(|path| state.disk.file(*path).is_safe())
}

fn whole(state: &State) -> bool {
    Repo::ALL.into_iter().all(|repo| {
        let facts = state.facts.repo(repo);
        let live = Manifest::ALL.into_iter().filter(|manifest| facts.is_live(*manifest));
        live.flat_map(Manifest::needs).all(|target| facts.is_visible(*target) && has_bytes(state, *target))
    })
}

fn has_bytes(state: &State, target: Target) -> bool {
    match target {
        Target::Blob(blob) => {
            state.facts.blobs[blob as usize].is_some_and(|path| state.disk.file(path).is_safe())
        }
        Target::Manifest(_) => true,
    }
}

fn no_leak(state: &State) -> bool {
    Path::all().all(|path| !state.disk.file(path).takes_room() || state.facts.names(path))
}

/// Whether there is something here that a review could free.
fn is_reviewable(facts: &Facts, repo: Repo, target: Target) -> bool {
    match target {
        Target::Blob(blob) => facts.repo(repo).links[blob as usize].is_some(),
        Target::Manifest(manifest) => facts.repo(repo).is_live(manifest),
    }
}

fn queued(model: &Protocol, state: &State) -> bool {
    state.facts.targets().all(|(repo, target)| {
        state.facts.repo(repo).queue.contains(target)
            || !is_reviewable(&state.facts, repo, target)
            || model.is_held(state, repo, target)
    })
}

/// Lets the collector go on until it has nothing to do, and looks what is left.
fn drained(model: &Protocol, state: &State) -> bool {
    let mut state = *state;
    // Each round ends what was leased or in the trash at its beginning, and may free the next thing: an
    // upload, an index, its child, the child's referrer and their blobs.
    for _ in 0..6 {
        state.now += 10;
        while let Some(action) = model.background(&state).first() {
            state = model.next_state(&state, *action).expect("a step that can be taken");
        }
    }
    let facts = &state.facts;
    let only_current = Path::all().all(|path| {
        let is_current = facts.blobs[path.blob as usize] == Some(path);
        is_current == state.disk.file(path).takes_room()
    });
    let all_linked =
        Blob::ALL.into_iter().all(|blob| facts.blobs[blob as usize].is_some() == facts.is_linked(blob));
    let all_held = facts
        .targets()
        .all(|(repo, target)| !is_reviewable(facts, repo, target) || facts.repo(repo).is_held(target));
    let no_trash = facts.repos.iter().flat_map(|repo| repo.manifests).flatten().all(Row::is_live);
    let no_uploads = facts.uploads.iter().all(Option::is_none);
    only_current && all_linked && all_held && no_trash && no_uploads && facts.doomed.is_empty()
}

impl Protocol {
    /// Whether nothing more can happen but failures and, beyond the scenario, the passing of time.
    fn is_over(&self, state: &State) -> bool {
        state.now == self.scenario.end
            && Who::ALL.into_iter().all(|who| self.is_done(state, who))
            && self.background(state).is_empty()
    }
}
