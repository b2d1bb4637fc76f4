//! The properties that must hold in every state. The comments name the promise of the design that each one checks.

use stateright::{Model, Property};

use super::metadata::{Metadata, Row};
use super::protocol::Protocol;
use super::state::{ClientId, State};
use super::world::{Blob, Enumerable, Manifest, Path, Repo, Target};

/// Promise 1: files are written before their rows, and rows are deleted before their files.
pub const NO_DANGLING: &str = "every record points at a durable file";
/// Promise 2, and the reason for generations.
pub const NO_REWRITE: &str = "no path is written twice";
/// Promise 2: an accepted manifest is complete.
pub const COMPLETE: &str = "a live manifest can be pulled";
/// The three windows in which data could be lost: after an upload, a HEAD or a mount, before the manifest PUT.
pub const LEASED: &str = "a client can refer to everything it found within its lease";
/// A deletion can be undone until the trash time ends.
pub const UNDOABLE: &str = "a manifest in the trash can be restored";
/// Promise 2: a manifest is removed by a deletion or a policy, not together with a holder that was deleted before the
/// manifest was put.
pub const KEPT: &str = "a purge removes no manifest that was put after the removal";
/// Promise 2 for a reader: a replaced file is found at its new path.
pub const PULLED: &str = "an existing blob can be read";
/// The store stays small: every file has a row.
pub const NO_LEAK: &str = "every file has a row";
/// The store stays small: rows without a holder are queued, so a running collector eventually removes them.
pub const QUEUED: &str = "every target without a holder is queued for review";
/// The collector eventually removes everything without a holder.
pub const DRAINED: &str = "eventually only targets with a holder remain";

pub fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(NO_DANGLING, |_, state| has_no_dangling_record(state)),
        Property::always(NO_REWRITE, |_, state: &State| !state.ghost.rewritten),
        Property::always(COMPLETE, |_, state| is_complete(state)),
        Property::always(LEASED, |_, state: &State| !state.ghost.refused_within_lease),
        Property::always(UNDOABLE, |_, state: &State| !state.ghost.refused_from_trash),
        Property::always(KEPT, |_, state: &State| !state.ghost.purged_after_put),
        Property::always(PULLED, |_, state: &State| !state.ghost.pull_failed),
        Property::always(NO_LEAK, |_, state| has_no_leak(state)),
        Property::always(QUEUED, is_queued),
        Property::always(DRAINED, |model, state| !model.is_over(state) || is_drained(model, state)),
    ]
}

/// Whether the property with this name holds.
pub fn is_satisfied(name: &str, model: &Protocol, state: &State) -> bool {
    all().iter().filter(|property| property.name == name).all(|property| (property.condition)(model, state))
}

fn has_no_dangling_record(state: &State) -> bool {
    state.metadata.blobs.iter().flatten().all(|path| state.disk.file(*path).is_safe())
}

fn is_complete(state: &State) -> bool {
    Repo::ALL.into_iter().all(|repo| {
        let metadata = state.metadata.repo(repo);
        let live = Manifest::ALL.into_iter().filter(|manifest| metadata.is_live(*manifest));
        live.flat_map(Manifest::needs).all(|target| metadata.is_visible(*target) && has_bytes(state, *target))
    })
}

fn has_bytes(state: &State, target: Target) -> bool {
    match target {
        Target::Blob(blob) => {
            state.metadata.blobs[blob as usize].is_some_and(|path| state.disk.file(path).is_safe())
        }
        Target::Manifest(_) => true,
    }
}

fn has_no_leak(state: &State) -> bool {
    Path::all().all(|path| !state.disk.file(path).takes_space() || state.metadata.refers_to(path))
}

/// Whether the target has a row that a review could remove.
fn is_reviewable(metadata: &Metadata, repo: Repo, target: Target) -> bool {
    match target {
        Target::Blob(blob) => metadata.repo(repo).links[blob as usize].is_some(),
        Target::Manifest(manifest) => metadata.repo(repo).is_live(manifest),
    }
}

fn is_queued(model: &Protocol, state: &State) -> bool {
    state.metadata.targets().all(|(repo, target)| {
        state.metadata.repo(repo).queue.contains(target)
            || !is_reviewable(&state.metadata, repo, target)
            || model.is_held(state, repo, target)
    })
}

/// Runs the collector until it has nothing to do, and checks what is left.
fn is_drained(model: &Protocol, state: &State) -> bool {
    let mut state = *state;
    // Each round ends all leases and trash times, and may release the next target: an upload, an index, its child, the
    // child's referrer and their blobs.
    for _ in 0..6 {
        state.now += 10;
        while let Some(action) = model.background(&state).first() {
            state = model.next_state(&state, *action).expect("a step that can be taken");
        }
    }
    let metadata = &state.metadata;
    let only_current = Path::all().all(|path| {
        let is_current = metadata.blobs[path.blob as usize] == Some(path);
        is_current == state.disk.file(path).takes_space()
    });
    let all_linked =
        Blob::ALL.into_iter().all(|blob| metadata.blobs[blob as usize].is_some() == metadata.is_linked(blob));
    let all_held = metadata
        .targets()
        .all(|(repo, target)| !is_reviewable(metadata, repo, target) || metadata.repo(repo).is_held(target));
    let no_trash = metadata.repos.iter().flat_map(|repo| repo.manifests).flatten().all(Row::is_live);
    let no_uploads = metadata.uploads.iter().all(Option::is_none);
    only_current && all_linked && all_held && no_trash && no_uploads && metadata.pending_deletion.is_empty()
}

impl Protocol {
    /// Whether nothing more can happen except failures and, after the end of the scenario, clock ticks.
    fn is_over(&self, state: &State) -> bool {
        state.now == self.scenario.end
            && ClientId::ALL.into_iter().all(|id| self.is_done(state, id))
            && self.background(state).is_empty()
    }
}
