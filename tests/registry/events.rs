//! Events: what happened to the store while nobody was looking.

use std::sync::Arc;
use std::time::Duration;

use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::jobs::fsck::fsck;
use orlop::jobs::progress::Silent;
use orlop::jobs::{Job, Scrub, ScrubSettings, Upkeep};
use orlop::metadata::faulty::{Failure, Fault, Faults, Faulty, Operation};
use orlop::metadata::sqlite::{Access as FactsAccess, SqliteMetadata};
use orlop::metadata::{Event, EventDetails, EventKind, PolicyRecord};
use orlop::registry::{Registry, Settings};
use orlop::store::MemoryStore;

use crate::kit::{Kit, digest, push, read};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// All events, the oldest first.
pub async fn events(registry: &Registry) -> Vec<Event> {
    let mut found = registry.metadata().events(None, None, 1000).await.expect("read").items;
    found.reverse();
    found
}

pub async fn kinds(registry: &Registry) -> Vec<EventKind> {
    events(registry).await.iter().map(|event| event.details.kind()).collect()
}

async fn scrub(registry: &Arc<Registry>) {
    let settings = ScrubSettings { period: Some(DAY), rate: 1 << 20 };
    let scrub = Scrub::new(Arc::clone(registry), settings);
    scrub.run_to_end(None, &Silent).await.expect("a pass");
}

/// A registry with a blob whose bytes are damaged.
async fn damaged(change: impl FnOnce(&mut Settings)) -> Kit {
    let kit = Kit::new();
    let repo = kit.repo("app");
    push(&repo, b"layer").await;
    let key = repo.viewed().blob(&digest(b"layer")).await.expect("blob").key;
    assert!(kit.bytes.damage(&key));
    kit.restarted_with(change).await
}

#[tokio::test]
async fn a_blob_that_the_scrub_finds_damaged_is_an_event_and_its_healing_another() {
    let kit = damaged(|_| {}).await;
    kit.clock.advance(HOUR);
    scrub(&kit.registry).await;
    scrub(&kit.registry).await;
    let found = events(&kit.registry).await;
    let [Event { at, details: EventDetails::BlobDamaged { digest: of, reason }, .. }] = found.as_slice()
    else {
        panic!("{found:?}")
    };
    assert_eq!((*at, of), (kit.clock.now(), &digest(b"layer")));
    assert!(reason.contains("hash to"), "{reason}");
    let kit = kit.restarted().await;
    push(&kit.repo("other"), b"layer").await;
    assert_eq!(kinds(&kit.registry).await, [EventKind::BlobDamaged, EventKind::BlobHealed]);
}

#[tokio::test]
async fn what_a_pull_or_a_check_finds_is_an_event_too() {
    let kit = damaged(|_| {}).await;
    fsck(&kit.registry, false, &Silent).await.expect("a check");
    assert_eq!(kinds(&kit.registry).await, [], "it only looked");
    fsck(&kit.registry, true, &Silent).await.expect("a check");
    assert_eq!(kinds(&kit.registry).await, [EventKind::BlobDamaged]);

    let kit = Kit::new();
    let repo = kit.repo("app");
    push(&repo, b"layer").await;
    assert!(kit.bytes.lose(&repo.viewed().blob(&digest(b"layer")).await.expect("blob").key));
    assert_eq!(read(&repo, &digest(b"layer")).await, None);
    assert_eq!(kinds(&kit.registry).await, [EventKind::BlobDamaged]);
}

#[tokio::test]
async fn a_store_that_is_only_read_has_no_new_events() {
    let kit = damaged(|settings| settings.read_only = true).await;
    scrub(&kit.registry).await;
    kit.registry.note_state(EventDetails::DiskFull { free: 0, min_free: 1 }).await;
    assert_eq!(kinds(&kit.registry).await, []);

    let Kit { registry, clock, facts, bytes, .. } = kit;
    drop(registry);
    let metadata = SqliteMetadata::open(facts.path(), FactsAccess::ReadOnly).expect("facts");
    let settings = Settings { read_only: true, ..Settings::default() };
    let registry = Registry::new(Arc::new(bytes.reopened()), Arc::new(metadata), clock, settings);
    registry.note_state(EventDetails::DiskFull { free: 0, min_free: 1 }).await;
    assert_eq!(kinds(&registry).await, []);
}

#[tokio::test]
async fn the_chores_tell_that_the_clock_was_wrong_and_when_that_was_over() {
    let kit = Kit::new();
    let upkeep = Upkeep::new(Arc::clone(&kit.registry));
    let run_for = async |span: Duration| {
        kit.clock.advance(span);
        upkeep.tick().await.expect("a tick");
    };
    run_for(HOUR).await;
    run_for(HOUR).await;
    assert_eq!(kinds(&kit.registry).await, []);
    kit.clock.jump_to(Timestamp(1_000_000_000_000));
    run_for(MINUTE).await;
    run_for(MINUTE).await;
    assert_eq!(kinds(&kit.registry).await, [EventKind::ClockSuspect]);
    run_for(DAY).await;
    run_for(MINUTE).await;
    assert_eq!(kinds(&kit.registry).await, [EventKind::ClockSuspect, EventKind::ClockTrusted]);
}

/// The rarer chores are done at the first tick, and after a restart at the first one again.
async fn tidied(kit: Kit) -> Kit {
    let kit = kit.restarted().await;
    Upkeep::new(Arc::clone(&kit.registry)).tick().await.expect("a tick");
    kit
}

#[tokio::test]
async fn the_chores_forget_what_is_old_or_too_much_unless_the_clock_is_wrong() {
    let kit = Kit::with(|settings| (settings.events_keep, settings.events_most) = (DAY, 2));
    for name in ["a", "b", "c"] {
        let (policy, set_at) = ("{}".to_owned(), kit.clock.now());
        let record = PolicyRecord { name: name.into(), policy, set_at, by: None };
        kit.registry.metadata().set_policy(record).await.expect("set");
    }
    let kit = tidied(kit).await;
    assert_eq!(kinds(&kit.registry).await.len(), 2, "of each kind");
    kit.registry.note_state(EventDetails::DiskFull { free: 0, min_free: 1 }).await;
    kit.clock.advance(HOUR);
    let kit = tidied(kit).await;
    assert_eq!(kinds(&kit.registry).await.len(), 3);

    let upkeep = Upkeep::new(Arc::clone(&kit.registry));
    kit.clock.jump_to(kit.clock.now().plus(3 * DAY));
    upkeep.tick().await.expect("a tick");
    assert_eq!(kinds(&kit.registry).await.len(), 4, "one more: the clock is wrong");
    drop(upkeep);
    kit.clock.advance(3 * DAY);
    let kit = tidied(kit).await;
    assert_eq!(kinds(&kit.registry).await, [EventKind::ClockSuspect], "the last one stays");
}

/// Whatever becomes of the event, what it is about goes on; and it is recorded as soon as that is possible.
#[tokio::test]
async fn an_event_that_cannot_be_recorded_is_at_the_next_look() {
    let facts = tempfile::tempdir().expect("a folder");
    let metadata = SqliteMetadata::open(facts.path(), FactsAccess::ReadWrite).expect("facts");
    let faults = Faults::new();
    let metadata = Arc::new(Faulty::new(metadata, faults.clone()));
    let clock = Arc::new(ManualClock::at(Timestamp(1)));
    let settings = Settings { min_free: 0, warn_free: 0, ..Settings::default() };
    let registry = Registry::new(Arc::new(MemoryStore::new()), metadata, clock, settings);
    let full = EventDetails::DiskFull { free: 0, min_free: 1 };
    faults.next_of(Operation::NoteState, Fault::Fail(Failure::Full));
    registry.note_state(full.clone()).await;
    assert_eq!(kinds(&registry).await, []);
    registry.note_state(full.clone()).await;
    registry.note_state(full).await;
    assert_eq!(kinds(&registry).await, [EventKind::DiskFull]);
}

/// Nothing hides behind an older event.
#[tokio::test]
async fn each_damage_is_told() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    for _ in 0..2 {
        push(&repo, b"layer").await;
        assert!(kit.bytes.damage(&repo.viewed().blob(&digest(b"layer")).await.expect("blob").key));
        scrub(&kit.registry).await;
    }
    let expected = [EventKind::BlobDamaged, EventKind::BlobHealed, EventKind::BlobDamaged];
    assert_eq!(kinds(&kit.registry).await, expected);
}
