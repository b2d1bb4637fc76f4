//! The collection protocol, model-checked: every order in which requests, the collector, the clock, crashes
//! and power cuts can take their steps, in small scenarios.
//!
//! | file | what it stands for |
//! | --- | --- |
//! | `world` | two repositories, two blobs, an image, its next version, an index and a referrer |
//! | `facts` | the rows of `metadata/`, what holds what, and when a lease ends |
//! | `disk` | the bytes of `store/`, and what of them a power cut would leave |
//! | `state` | both, with the clients' requests and what was promised to whom |
//! | `client` | what a client does next |
//! | `uploads`, `blobs`, `manifests` | the use cases of `registry/`, one transaction or byte operation a step |
//! | `collector` | the steps of `jobs/`, likewise |
//! | `failure` | a request dies, a commit's answer is lost, the process dies, the power goes |
//! | `properties` | what must hold in every state |
//! | `scenarios` | who does what in which store |
//! | `protocol` | puts it together, and lists the planted bugs |
//!
//! Two things decide whether the answer is worth anything. A step is exactly a transaction or a byte
//! operation, so that a crash can fall between any two. And each rule of the protocol can be left out: the
//! bug planted so must break the property that the rule is for, or the model would pass for want of looking.
//!
//! The model is more permissive than the code where that makes it simpler: the collector may review an entry
//! of its queue at any time, not only when it is due; its batches are of one row; a power cut keeps any part
//! of what was not synced. It is coarser in this: the clock has a handful of ticks, and two events within a
//! tick have no order in time. And it takes for granted that something syncs SQLite's log within a tick: an
//! upload whose lazily written row a power cut undoes has extended no lease.
//!
//! Left out: what happens within a byte operation or a transaction (the scenario suites of both stores, with
//! their power cuts, are for that), offsets and hashes of an upload, staged bytes (nothing refers to them;
//! those without an upload's row are for `fsck`), damaged blobs, sparse indexes, dry runs, backups, several
//! tags, and clocks that jump.
//!
//! `cargo test --test model -- --nocapture` prints the number of states and, for each bug, the shortest way
//! to the damage.

mod model {
    pub mod blobs;
    pub mod client;
    pub mod collector;
    pub mod disk;
    pub mod facts;
    pub mod failure;
    pub mod manifests;
    pub mod properties;
    pub mod protocol;
    pub mod scenarios;
    pub mod state;
    pub mod uploads;
    pub mod world;
}

use model::properties;
use model::protocol::{Action, Bug, Planted, Protocol};
use model::scenarios::{self, Scenario};
use stateright::{Checker, HasDiscoveries, Model};

/// Tries everything that can happen.
fn holds(name: &str, scenario: Scenario) {
    let checker = Protocol { scenario, bug: None }.checker().spawn_bfs().join();
    eprintln!("{name}: {} states, up to {} steps", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

/// Looks for the shortest way in which a bug does its damage.
fn is_caught(scenario: Scenario, planted: Planted) {
    let mut shortest = None;
    let mut limit = usize::MAX;
    while let Some(steps) = counterexample(scenario, planted, limit) {
        limit = steps.len();
        shortest = Some(steps);
    }
    let Some(steps) = shortest else { panic!("{:?} was not caught", planted.bug) };
    eprintln!("{:?} breaks \"{}\":", planted.bug, planted.breaks);
    steps.iter().for_each(|step| eprintln!("    {step}"));
}

/// A way to the damage in fewer than `limit` steps.
fn counterexample(scenario: Scenario, planted: Planted, limit: usize) -> Option<Vec<Action>> {
    Protocol { scenario, bug: Some(planted) }
        .checker()
        .finish_when(HasDiscoveries::AnyOf([planted.breaks].into()))
        .target_max_depth(limit.saturating_add(1))
        .spawn_bfs()
        .join()
        .discovery(planted.breaks)
        .map(|path| path.into_actions())
}

macro_rules! the_protocol_holds {
    ($($name:ident: $scenario:ident,)*) => {
        mod the_protocol_holds {
            $(#[test]
            fn $name() {
                super::holds(stringify!($name), super::scenarios::$scenario);
            })*
        }
    };
}

macro_rules! bugs_are_caught {
    ($($name:ident: $bug:ident in $scenario:ident breaks $property:ident,)*) => {
        mod bugs_are_caught {
            use super::{Bug, Planted, properties, scenarios};

            $(#[test]
            fn $name() {
                let planted = Planted { bug: Bug::$bug, breaks: properties::$property };
                super::is_caught(scenarios::$scenario, planted);
            })*

            /// Does not compile if one is missing.
            #[expect(unreachable_patterns, reason = "a bug may do damage of two kinds")]
            const _: fn(Bug) = |bug| match bug { $(Bug::$bug => (),)* };
        }
    };
}

the_protocol_holds! {
    while_two_upload_one_digest: TWO_UPLOADS,
    while_a_blob_is_pushed_again: PUSHED_AGAIN,
    while_a_blob_is_read: PULL,
    while_uploads_expire: EXPIRY,
    while_a_push_takes_long: LONG_PUSH,
    while_the_next_version_comes: NEXT_VERSION,
    while_a_blob_is_mounted: MOUNT,
    while_an_image_is_restored: RESTORE,
    while_an_index_is_pushed_again: INDEX,
    while_a_child_follows_its_index: CASCADE,
    while_a_child_is_pushed_again: CHILD,
    while_a_tag_moves: TAG_MOVE,
    while_a_referrer_is_pushed_again: REFERRER,
    while_a_tag_leaves_a_signed_image: SIGNED,
    while_room_is_made: BUDGET,
    while_a_child_follows_and_room_is_made: BUDGET_CASCADE,
}

bugs_are_caught! {
    head_renews_nothing: HeadRenewsNothing in PUSHED_AGAIN breaks LEASED,
    held_is_not_renewed: HeldIsNotRenewed in BUDGET breaks LEASED,
    renewal_is_lazy: RenewalIsLazy in PUSHED_AGAIN breaks LEASED,
    lease_ignores_uploads: LeaseIgnoresUploads in LONG_PUSH breaks LEASED,
    tag_move_leases_nothing: TagMoveLeasesNothing in TAG_MOVE breaks LEASED,
    purge_leases_nothing: PurgeLeasesNothing in CASCADE breaks LEASED,
    purging_holds_nothing: PurgingHoldsNothing in INDEX breaks LEASED,
    cascade_inherits_removal: CascadeInheritsRemoval in CASCADE breaks LEASED,
    put_ignores_hidden: PutIgnoresHidden in RESTORE breaks WHOLE,
    restore_leaves_hidden: RestoreLeavesHidden in RESTORE breaks WHOLE,
    restore_finds_nothing_hidden: RestoreFindsNothingHidden in RESTORE breaks UNDOABLE,
    put_keeps_old_edges: PutKeepsOldEdges in INDEX breaks WHOLE,
    put_ignores_removed: PutIgnoresRemoved in INDEX breaks WHOLE,
    delete_ignores_holders: DeleteIgnoresHolders in RESTORE breaks WHOLE,
    purge_ignores_put: PurgeIgnoresPut in CHILD breaks KEPT,
    put_leaves_orphan: PutLeavesOrphan in CHILD breaks KEPT,
    path_without_generation: PathWithoutGeneration in PUSHED_AGAIN breaks NO_DANGLING,
    path_is_written_twice: PathWithoutGeneration in PUSHED_AGAIN breaks NO_REWRITE,
    bytes_not_synced: BytesNotSynced in TWO_UPLOADS breaks NO_DANGLING,
    no_intent: NoIntent in TWO_UPLOADS breaks NO_LEAK,
    intent_is_lazy: IntentIsLazy in TWO_UPLOADS breaks NO_LEAK,
    intent_replaced: IntentReplaced in TWO_UPLOADS breaks NO_LEAK,
    undo_does_not_join: UndoDoesNotJoin in TWO_UPLOADS breaks NO_DANGLING,
    undo_does_not_look: UndoDoesNotLook in TWO_UPLOADS breaks NO_DANGLING,
    undo_does_not_sync: UndoDoesNotSync in TWO_UPLOADS breaks NO_LEAK,
    pull_does_not_look_again: PullDoesNotLookAgain in PULL breaks PULLED,
    unlink_before_row: UnlinkBeforeRow in PUSHED_AGAIN breaks NO_DANGLING,
    doom_is_lazy: DoomIsLazy in PUSHED_AGAIN breaks NO_DANGLING,
    unlink_does_not_sync: UnlinkDoesNotSync in PUSHED_AGAIN breaks NO_LEAK,
    release_queues_nothing: ReleaseQueuesNothing in NEXT_VERSION breaks QUEUED,
    subject_edge_holds: SubjectEdgeHolds in SIGNED breaks DRAINED,
}
