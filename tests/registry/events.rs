//! Tests the event log, which records what happened to the store in the background.

use std::sync::Arc;
use std::time::Duration;

use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::faults::{Failure, Fault};
use orlop::jobs::{Job, Scrub, ScrubSettings, Upkeep};
use orlop::maintenance::fsck::fsck;
use orlop::maintenance::progress::Silent;
use orlop::metadata::{Access as MetadataAccess, Metadata};
use orlop::metadata::{Event, EventDetails, EventKind, PolicyRecord};
use orlop::metadata::{Faults, Operation};
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

/// A registry with a blob whose content is corrupt.
async fn kit_with_corrupt_blob(change: impl FnOnce(&mut Settings)) -> Kit {
    let kit = Kit::new();
    let repo = kit.repo("app");
    push(&repo, b"layer").await;
    let key = repo.without_push().blob(&digest(b"layer")).await.expect("blob").key;
    assert!(kit.store.damage(&key));
    kit.restarted_with(change).await
}

#[tokio::test]
async fn records_an_event_when_the_scrub_quarantines_a_blob_and_when_a_push_heals_it() {
    let kit = kit_with_corrupt_blob(|_| {}).await;
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
async fn records_an_event_when_a_pull_or_fsck_finds_a_corrupt_blob() {
    let kit = kit_with_corrupt_blob(|_| {}).await;
    fsck(&kit.registry, false, &Silent).await.expect("a check");
    assert_eq!(kinds(&kit.registry).await, [], "without repair it records nothing");
    fsck(&kit.registry, true, &Silent).await.expect("a check");
    assert_eq!(kinds(&kit.registry).await, [EventKind::BlobDamaged]);

    let kit = Kit::new();
    let repo = kit.repo("app");
    push(&repo, b"layer").await;
    assert!(kit.store.lose(&repo.without_push().blob(&digest(b"layer")).await.expect("blob").key));
    assert_eq!(read(&repo, &digest(b"layer")).await, None);
    assert_eq!(kinds(&kit.registry).await, [EventKind::BlobDamaged]);
}

#[tokio::test]
async fn a_read_only_registry_records_no_events() {
    let kit = kit_with_corrupt_blob(|settings| settings.read_only = true).await;
    scrub(&kit.registry).await;
    kit.registry.record_state(EventDetails::DiskFull { free: 0, min_free: 1 }).await;
    assert_eq!(kinds(&kit.registry).await, []);

    let Kit { registry, clock, metadata_dir, store, .. } = kit;
    drop(registry);
    let metadata = Metadata::open(metadata_dir.path(), MetadataAccess::ReadOnly).expect("metadata");
    let settings = Settings { read_only: true, ..Settings::default() };
    let registry = Registry::new(Arc::new(store.reopened()), Arc::new(metadata), clock, settings);
    registry.record_state(EventDetails::DiskFull { free: 0, min_free: 1 }).await;
    assert_eq!(kinds(&registry).await, []);
}

#[tokio::test]
async fn upkeep_records_when_the_clock_becomes_suspect_and_when_it_is_trusted_again() {
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

/// Restarts the registry and runs one upkeep tick: the rarer upkeep tasks run at the first tick after a start.
async fn restarted_with_upkeep(kit: Kit) -> Kit {
    let kit = kit.restarted().await;
    Upkeep::new(Arc::clone(&kit.registry)).tick().await.expect("a tick");
    kit
}

#[tokio::test]
async fn upkeep_removes_old_and_excess_events_unless_the_clock_is_suspect() {
    let kit = Kit::with(|settings| (settings.events_keep, settings.max_events) = (DAY, 2));
    for name in ["a", "b", "c"] {
        let record =
            PolicyRecord { name: name.into(), policy: "{}".to_owned(), set_at: kit.clock.now(), by: None };
        kit.registry.metadata().set_policy(record).await.expect("set");
    }
    let kit = restarted_with_upkeep(kit).await;
    assert_eq!(kinds(&kit.registry).await.len(), 2, "of each kind");
    kit.registry.record_state(EventDetails::DiskFull { free: 0, min_free: 1 }).await;
    kit.clock.advance(HOUR);
    let kit = restarted_with_upkeep(kit).await;
    assert_eq!(kinds(&kit.registry).await.len(), 3);

    let upkeep = Upkeep::new(Arc::clone(&kit.registry));
    kit.clock.jump_to(kit.clock.now().plus(3 * DAY));
    upkeep.tick().await.expect("a tick");
    assert_eq!(kinds(&kit.registry).await.len(), 4, "one more event: the clock is suspect");
    drop(upkeep);
    kit.clock.advance(3 * DAY);
    let kit = restarted_with_upkeep(kit).await;
    assert_eq!(kinds(&kit.registry).await, [EventKind::ClockSuspect], "the last event stays");
}

/// A failure to record an event does not stop the work it describes. The event is recorded as soon as possible.
#[tokio::test]
async fn an_event_that_could_not_be_recorded_is_recorded_at_the_next_check() {
    let metadata_dir = tempfile::tempdir().expect("temporary folder");
    let metadata = Metadata::open(metadata_dir.path(), MetadataAccess::ReadWrite).expect("metadata");
    let faults = Faults::new();
    let metadata = Arc::new(metadata.with_faults(faults.clone()));
    let clock = Arc::new(ManualClock::at(Timestamp(1)));
    let settings = Settings { min_free: 0, warn_free: 0, ..Settings::default() };
    let registry = Registry::new(Arc::new(MemoryStore::new()), metadata, clock, settings);
    let full = EventDetails::DiskFull { free: 0, min_free: 1 };
    faults.inject_next(Operation::RecordState, Fault::Fail(Failure::Full));
    registry.record_state(full.clone()).await;
    assert_eq!(kinds(&registry).await, []);
    registry.record_state(full.clone()).await;
    registry.record_state(full).await;
    assert_eq!(kinds(&registry).await, [EventKind::DiskFull]);
}

/// An older event does not hide a newer one of the same kind.
#[tokio::test]
async fn records_every_corruption_of_the_same_blob() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    for _ in 0..2 {
        push(&repo, b"layer").await;
        assert!(kit.store.damage(&repo.without_push().blob(&digest(b"layer")).await.expect("blob").key));
        scrub(&kit.registry).await;
    }
    let expected = [EventKind::BlobDamaged, EventKind::BlobHealed, EventKind::BlobDamaged];
    assert_eq!(kinds(&kit.registry).await, expected);
}
