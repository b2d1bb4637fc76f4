//! Model-checks the garbage collection protocol: explores, in small scenarios, every order of the steps of requests,
//! the collector, the clock, crashes and power cuts.
//!
//! | file | content |
//! | --- | --- |
//! | `world` | two repositories, two blobs, an image, its next version, an index and a referrer |
//! | `facts` | the rows of `metadata/`, their references, and when a lease ends |
//! | `disk` | the files of `store/`, and which of them survive a power cut |
//! | `state` | both, with the clients' requests and the promises made to each client |
//! | `client` | the next step of a client |
//! | `uploads`, `blobs`, `manifests` | the use cases of `registry/`, one transaction or file operation a step |
//! | `collector` | the steps of `jobs/`, likewise |
//! | `failure` | a failed request, a commit whose result is lost, a process crash, a power cut |
//! | `properties` | the properties that must hold in every state |
//! | `scenarios` | the initial stores and the scripts of the clients |
//! | `protocol` | the complete model and the list of planted bugs |
//!
//! Two choices make the result meaningful. Each step is exactly one transaction or one file operation, so a crash can
//! happen between any two. And each rule of the protocol can be left out: this planted bug must break the property
//! that the rule protects. Otherwise the model could pass because it checks nothing.
//!
//! The model permits more than the code where that is simpler: the collector may review a queue entry at any time,
//! not only when it is due; its batches have one row; a power cut keeps any part of the unsynced data. The model is
//! coarser in time: the clock has few ticks, and two events within a tick have no order. It assumes that something
//! syncs SQLite's log within a tick: an upload whose lazily written row is undone by a power cut has extended no
//! lease.
//!
//! Not modelled: the inside of a file operation or a transaction (the scenario suites of the store and the metadata
//! test it, with power cuts), upload offsets and hashes, staged bytes (nothing refers to them; `fsck` finds those
//! without an upload row), quarantined blobs, sparse indexes, dry runs, backups, several tags, and clock jumps.
//!
//! `cargo test --test model -- --nocapture` prints the number of states and, for each bug, the shortest sequence of
//! steps that breaks its property.

#![expect(unreachable_pub, reason = "here `pub` means: for the other files of this program")]

mod model {
    pub mod blobs;
    pub mod client;
    pub mod collector;
    pub mod disk;
    pub mod failure;
    pub mod manifests;
    pub mod metadata;
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

/// Explores every reachable state and checks all properties.
fn check_scenario(name: &str, scenario: Scenario) {
    let checker = Protocol { scenario, bug: None }.checker().spawn_bfs().join();
    eprintln!("{name}: {} states, up to {} steps", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

/// Checks that a planted bug breaks its property, and prints the shortest sequence of steps.
fn assert_bug_is_caught(scenario: Scenario, planted: Planted) {
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

/// A sequence of fewer than `limit` steps that breaks the property.
fn counterexample(scenario: Scenario, planted: Planted, limit: usize) -> Option<Vec<Action>> {
    Protocol { scenario, bug: Some(planted) }
        .checker()
        .finish_when(HasDiscoveries::AnyOf([planted.breaks].into()))
        .target_max_depth(limit.saturating_add(1))
        .spawn_bfs()
        .join()
        .discovery(planted.breaks)
        .map(stateright::Path::into_actions)
}

macro_rules! the_protocol_holds {
    ($($name:ident: $scenario:ident,)*) => {
        mod the_protocol_holds {
            $(#[test]
            fn $name() {
                super::check_scenario(stringify!($name), super::scenarios::$scenario);
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
                super::assert_bug_is_caught(scenarios::$scenario, planted);
            })*

            /// Does not compile if a bug has no test.
            #[expect(unreachable_patterns, reason = "one bug may break two properties")]
            const _: fn(Bug) = |bug| match bug { $(Bug::$bug => (),)* };
        }
    };
}

the_protocol_holds! {
    while_two_clients_upload_one_digest: TWO_UPLOADS,
    while_a_blob_is_pushed_again: PUSHED_AGAIN,
    while_a_blob_is_read: PULL,
    while_uploads_expire: EXPIRY,
    while_a_push_takes_long: LONG_PUSH,
    while_the_next_version_is_pushed: NEXT_VERSION,
    while_a_blob_is_mounted: MOUNT,
    while_an_image_is_restored: RESTORE,
    while_an_index_is_pushed_again: INDEX,
    while_a_child_follows_its_index: CASCADE,
    while_a_child_is_pushed_again: CHILD,
    while_a_tag_moves: TAG_MOVE,
    while_a_referrer_is_pushed_again: REFERRER,
    while_a_tag_leaves_a_signed_image: SIGNED,
    while_space_is_reclaimed: BUDGET,
    while_a_child_follows_its_index_and_space_is_reclaimed: BUDGET_CASCADE,
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
    put_ignores_hidden: PutIgnoresHidden in RESTORE breaks COMPLETE,
    restore_leaves_hidden: RestoreLeavesHidden in RESTORE breaks COMPLETE,
    restore_finds_nothing_hidden: RestoreFindsNothingHidden in RESTORE breaks UNDOABLE,
    put_keeps_old_edges: PutKeepsOldEdges in INDEX breaks COMPLETE,
    put_ignores_removed: PutIgnoresRemoved in INDEX breaks COMPLETE,
    delete_ignores_holders: DeleteIgnoresHolders in RESTORE breaks COMPLETE,
    purge_ignores_put: PurgeIgnoresPut in CHILD breaks KEPT,
    put_leaves_orphan: PutLeavesOrphan in CHILD breaks KEPT,
    path_without_generation: PathWithoutGeneration in PUSHED_AGAIN breaks NO_DANGLING,
    path_is_written_twice: PathWithoutGeneration in PUSHED_AGAIN breaks NO_REWRITE,
    bytes_not_synced: BytesNotSynced in TWO_UPLOADS breaks NO_DANGLING,
    no_intent: NoIntent in TWO_UPLOADS breaks NO_LEAK,
    intent_is_lazy: IntentIsLazy in TWO_UPLOADS breaks NO_LEAK,
    intent_replaced: IntentReplaced in TWO_UPLOADS breaks NO_LEAK,
    undo_does_not_join: UndoDoesNotJoin in TWO_UPLOADS breaks NO_DANGLING,
    undo_does_not_check: UndoDoesNotCheck in TWO_UPLOADS breaks NO_DANGLING,
    undo_does_not_sync: UndoDoesNotSync in TWO_UPLOADS breaks NO_LEAK,
    pull_does_not_retry: PullDoesNotRetry in PULL breaks PULLED,
    unlink_before_row: UnlinkBeforeRow in PUSHED_AGAIN breaks NO_DANGLING,
    pending_deletion_is_lazy: PendingDeletionIsLazy in PUSHED_AGAIN breaks NO_DANGLING,
    unlink_does_not_sync: UnlinkDoesNotSync in PUSHED_AGAIN breaks NO_LEAK,
    release_queues_nothing: ReleaseQueuesNothing in NEXT_VERSION breaks QUEUED,
    subject_edge_holds: SubjectEdgeHolds in SIGNED breaks DRAINED,
}
