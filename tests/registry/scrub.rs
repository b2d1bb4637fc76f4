//! Tests the scrub: what it finds, how it reacts, and how fast it reads.

use std::sync::Arc;
use std::time::Duration;

use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::jobs::scrub::ScrubReport;
use orlop::jobs::{Job, Scrub, ScrubSettings};
use orlop::maintenance::fsck::fsck;
use orlop::maintenance::progress::Silent;
use orlop::metadata::Integrity;
use orlop::metadata::{Access as MetadataAccess, Metadata};
use orlop::oci::BlobKey;
use orlop::registry::{Access, PutManifestError, Registry, Repository, Settings};
use orlop::store::MemoryStore;
use orlop::store::faulty::{Failure, Fault, Faults, Faulty, Operation};
use tempfile::TempDir;

use crate::kit::{Kit, digest, has, image, push, push_image, put, read};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const SECOND: Duration = Duration::from_secs(1);
const MIB: u64 = 1 << 20;

fn scrub(registry: &Arc<Registry>, period: Duration, rate: u64) -> Scrub {
    Scrub::new(Arc::clone(registry), ScrubSettings { period: Some(period), rate })
}

/// Runs one complete pass.
async fn pass(registry: &Arc<Registry>) -> ScrubReport {
    scrub(registry, DAY, MIB).run_to_end(None, &Silent).await.expect("a pass")
}

async fn key_of(repo: &Repository, content: &[u8]) -> BlobKey {
    repo.without_push().blob(&digest(content)).await.expect("blob").key
}

async fn is_served(repo: &Repository, content: &[u8]) -> bool {
    repo.without_push().blob(&digest(content)).await.is_ok()
}

/// Ticks the scrub as a server does while `span` passes, with longer pauses if `span` is long.
async fn run_for(scrub: &Scrub, clock: &ManualClock, span: Duration) {
    let end = clock.elapsed() + span;
    let rest = SECOND.max(span / 200);
    while clock.elapsed() < end {
        let more = scrub.tick().await.expect("a tick");
        clock.advance(if more { Duration::from_millis(5) } else { rest });
    }
}

fn large(len: u64, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at >> 8) as u8 ^ at as u8 ^ seed).collect()
}

#[tokio::test]
async fn quarantines_a_corrupt_blob_until_it_is_pushed_again() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let other = kit.repo("other");
    let (_, config, layer) = push_image(&repo, "latest", "layer").await;
    other.mount(&layer, None).await.expect("no error").expect("mounted");
    assert!(pass(&kit.registry).await.is_sound());
    assert!(kit.store.damage(&key_of(&repo, b"layer").await));
    assert!(is_served(&repo, b"layer").await, "the corruption is not detected yet");

    let report = pass(&kit.registry).await;
    assert_eq!((report.blobs, report.manifests, report.damaged, report.problems.len()), (2, 1, 1, 1));
    assert!(report.problems[0].message.contains("hash to"), "{:?}", report.problems);
    assert_eq!(report.set_aside[0].digest, layer.to_string());
    assert_eq!(report.set_aside[0].repositories, ["app", "other"]);
    assert!(!is_served(&repo, b"layer").await && !is_served(&other, b"layer").await);
    assert!(repo.blob(&layer).await.is_err(), "also absent for clients that may push");
    assert!(kit.repo("third").mount(&layer, Some(repo.name())).await.expect("no error").is_none());
    let outcome = put(&repo, &["again"], &image(&config, &[&layer])).await;
    assert!(matches!(outcome, Err(PutManifestError::Missing(_))), "{outcome:?}");
    let check = fsck(&kit.registry, false, &Silent).await.expect("a check");
    assert_eq!(check.set_aside, 1);
    assert!(check.problems.iter().any(|problem| problem.message.contains("quarantined")));

    push(&other, b"layer").await;
    assert_eq!(read(&repo, &layer).await.as_deref(), Some(&b"layer"[..]), "its links had stayed");
    assert!(has(&repo, "latest").await);
    put(&repo, &["again"], &image(&config, &[&layer])).await.expect("accepted");
    assert!(pass(&kit.registry).await.is_sound());
    assert!(fsck(&kit.registry, false, &Silent).await.expect("a check").is_sound());
}

#[tokio::test]
async fn quarantines_a_missing_blob_and_restores_it_when_its_file_is_back() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    push(&repo, b"lost").await;
    let key = key_of(&repo, b"lost").await;
    let integrity = Integrity::Damaged("by mistake".into());
    kit.registry.metadata().mark_blob(&key, integrity, kit.clock.now()).await.expect("marked");
    assert!(!is_served(&repo, b"lost").await);
    assert!(pass(&kit.registry).await.is_sound(), "it was there all the time");
    assert!(is_served(&repo, b"lost").await);
    assert!(kit.store.lose(&key));
    assert_eq!(pass(&kit.registry).await.damaged, 1);
    assert!(!is_served(&repo, b"lost").await);
    assert_eq!(pass(&kit.registry).await.problems.len(), 1, "it is reported again");
}

#[tokio::test]
async fn a_push_or_removal_during_a_read_is_not_reported_as_corruption() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let content = large(2 * MIB, 1);
    push(&repo, &content).await;
    let old = key_of(&repo, &content).await;
    let scrub = scrub(&kit.registry, DAY, 64 * MIB);
    scrub.tick().await.expect("a tick");
    assert_eq!(scrub.status().checked_bytes, MIB);
    push(&repo, &content).await;
    kit.store.lose(&old);
    run_for(&scrub, &kit.clock, DAY + HOUR).await;
    assert!(scrub.status().finished_at.is_some());
    assert!(is_served(&repo, &content).await);

    let key = key_of(&repo, &content).await;
    repo.delete_blob(&digest(&content)).await.expect("deleted");
    kit.pass(DAY).await;
    kit.pass(DAY).await;
    assert!(kit.store.bytes(&key).is_none(), "collected during the read");
    run_for(&scrub, &kit.clock, DAY).await;
    assert!(pass(&kit.registry).await.is_sound());
}

#[tokio::test]
async fn reads_everything_once_per_period() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    for seed in 0..8 {
        push(&repo, &large(MIB, seed)).await;
    }
    let scrub = scrub(&kit.registry, DAY, 64 * MIB);
    run_for(&scrub, &kit.clock, DAY / 2).await;
    let half = scrub.status();
    assert!((3 * MIB..=5 * MIB).contains(&half.checked_bytes), "{half:?}");
    assert_eq!(half.finished_at, None);
    run_for(&scrub, &kit.clock, DAY / 2 + HOUR).await;
    let complete = scrub.status();
    assert!(complete.finished_at.is_some());
    assert!(complete.checked_bytes <= 9 * MIB, "each blob is read once: {complete:?}");
}

#[tokio::test]
async fn never_exceeds_the_rate() {
    let kit = Kit::new();
    push(&kit.repo("app"), &large(6 * MIB, 1)).await;
    // The period requires far more than the rate allows.
    let scrub = scrub(&kit.registry, SECOND, MIB);
    for second in 1..=5 {
        run_for(&scrub, &kit.clock, SECOND).await;
        let read = scrub.status().checked_bytes;
        assert!(read <= (second + 3) * MIB, "{read} bytes after {second} s");
        assert!(read >= second * MIB / 2, "{read} bytes after {second} s");
    }
}

#[tokio::test]
async fn does_no_work_on_an_empty_store() {
    let kit = Kit::new();
    let scrub = scrub(&kit.registry, DAY, MIB);
    for _ in 0..100 {
        assert!(!scrub.tick().await.expect("a tick"));
        kit.clock.advance(SECOND);
    }
    push(&kit.repo("app"), b"first").await;
    run_for(&scrub, &kit.clock, DAY + HOUR).await;
    assert!(scrub.status().checked_blobs >= 1);
}

#[tokio::test]
async fn resumes_within_a_blob_after_a_restart() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    push(&repo, &large(5 * MIB, 1)).await;
    let first = scrub(&kit.registry, DAY, 64 * MIB);
    run_for(&first, &kit.clock, DAY / 2).await;
    first.shut_down().await;
    let read = first.status().checked_bytes;
    assert!(read >= 2 * MIB, "{read}");
    let kit = kit.restarted().await;
    let second = scrub(&kit.registry, DAY, 64 * MIB);
    run_for(&second, &kit.clock, DAY / 2 + HOUR).await;
    assert!(second.status().finished_at.is_some());
    assert!(second.status().checked_bytes <= 5 * MIB - read + MIB, "only the rest was read");
    assert!(is_served(&kit.repo("app"), &large(5 * MIB, 1)).await);
    // The time of the last complete pass is known after the next start.
    let third = scrub(&kit.registry, DAY, MIB).report().await.expect("a report");
    assert_eq!(third.finished_at, second.status().finished_at.map(|at| at.0));
}

#[tokio::test]
async fn an_invalid_stored_position_quarantines_nothing() {
    let kit = Kit::new();
    let content = large(2 * MIB, 1);
    push(&kit.repo("app"), &content).await;
    let first = scrub(&kit.registry, DAY, 64 * MIB);
    first.tick().await.expect("a tick");
    first.shut_down().await;
    let metadata = kit.registry.metadata();
    let position = metadata.scrub_position().await.expect("read").expect("written");
    for wrong in [position.replace("1048576", "1048577"), "{}".into(), "nonsense".into()] {
        metadata.record_scrub_position(&wrong).await.expect("written");
        let next = scrub(&kit.registry, DAY, 64 * MIB);
        run_for(&next, &kit.clock, 2 * DAY).await;
        assert!(next.status().finished_at.is_some());
        assert!(is_served(&kit.repo("app"), &content).await);
    }
}

#[tokio::test]
async fn pauses_while_the_store_is_unavailable_and_quarantines_nothing() {
    let kit = Kit::new();
    push(&kit.repo("app"), b"layer").await;
    let scrub = scrub(&kit.registry, HOUR, MIB);
    kit.store.set_vanished(true);
    run_for(&scrub, &kit.clock, HOUR).await;
    assert!(scrub.status().paused.is_some());
    kit.store.set_vanished(false);
    run_for(&scrub, &kit.clock, HOUR).await;
    assert_eq!(scrub.status().paused, None);
    assert!(scrub.status().finished_at.is_some());
    assert!(is_served(&kit.repo("app"), b"layer").await);
}

#[tokio::test]
async fn pauses_while_the_clock_is_suspect() {
    let kit = Kit::new();
    push(&kit.repo("app"), b"layer").await;
    let scrub = scrub(&kit.registry, 10 * DAY, MIB);
    scrub.tick().await.expect("a tick");
    let read = scrub.status().checked_blobs;
    kit.clock.jump_to(Timestamp(0));
    run_for(&scrub, &kit.clock, HOUR).await;
    assert!(scrub.status().paused.is_some_and(|reason| reason.contains("clock")));
    assert_eq!(scrub.status().checked_blobs, read);
}

#[tokio::test]
async fn only_reports_problems_on_a_read_only_registry() {
    let kit = Kit::new();
    push(&kit.repo("app"), b"layer").await;
    let kit = kit.restarted_with(|settings| settings.read_only = true).await;
    let repo = kit.repo("app");
    assert!(kit.store.damage(&key_of(&repo, b"layer").await));
    let report = pass(&kit.registry).await;
    assert_eq!((report.problems.len(), report.damaged), (1, 0));
    assert!(is_served(&repo, b"layer").await);
    assert_eq!(kit.registry.metadata().scrub_position().await.expect("read"), None);
}

#[tokio::test]
async fn reports_a_corrupt_manifest_until_it_is_pushed_again() {
    let kit = Kit::new();
    let (manifest, config, layer) = push_image(&kit.repo("app"), "latest", "layer").await;
    let database = rusqlite::Connection::open(kit.metadata_dir.path().join("orlop.db")).expect("opened");
    database.execute("UPDATE manifests SET content = zeroblob(size)", []).expect("damaged");
    let kit = kit.restarted().await;
    let scrub = scrub(&kit.registry, DAY, MIB);
    let report = scrub.run_to_end(None, &Silent).await.expect("a pass");
    assert_eq!(report.problems[0].subject, format!("app@{manifest}"));
    assert_eq!(scrub.status().damaged_manifests.len(), 1);
    put(&kit.repo("app"), &["latest"], &image(&config, &[&layer])).await.expect("accepted");
    assert!(scrub.run_to_end(None, &Silent).await.expect("a pass").is_sound());
    assert_eq!(scrub.status().damaged_manifests.len(), 0);
}

/// A repository on a disk whose reads fail on command.
struct Unreadable {
    registry: Arc<Registry>,
    repo: Repository,
    clock: Arc<ManualClock>,
    faults: Faults,
    _metadata_dir: TempDir,
}

async fn unreadable() -> Unreadable {
    let faults = Faults::new();
    let metadata_dir = TempDir::new().expect("temporary folder");
    let metadata = Metadata::open(metadata_dir.path(), MetadataAccess::ReadWrite).expect("metadata");
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
    let registry = Registry::new(
        Arc::new(Faulty::new(MemoryStore::new(), faults.clone())),
        Arc::new(metadata),
        clock.clone(),
        Settings { min_free: 0, warn_free: 0, ..Settings::default() },
    );
    let repo = registry.repository("app".parse().expect("name"), Access { push: true });
    push(&repo, b"layer").await;
    faults.inject_next(Operation::Inspect, Fault::Fail(Failure::Io));
    Unreadable { registry, repo, clock, faults, _metadata_dir: metadata_dir }
}

#[tokio::test]
async fn quarantines_an_unreadable_blob_only_after_a_second_failed_read() {
    let Unreadable { registry, repo, clock, faults, _metadata_dir } = unreadable().await;
    let report = pass(&registry).await;
    assert_eq!((report.problems.len(), report.damaged), (1, 0));
    assert!(is_served(&repo, b"layer").await, "a single failed read proves nothing");
    // The failed read is remembered after a restart.
    let scrub = scrub(&registry, 30 * DAY, MIB);
    clock.advance(HOUR);
    for time in [1, 2] {
        faults.inject_nth_of(Operation::Inspect, time, Fault::Fail(Failure::Io));
    }
    scrub.tick().await.expect("a tick");
    assert!(!is_served(&repo, b"layer").await);
    push(&repo, b"layer").await;
    assert!(pass(&registry).await.is_sound());
}

#[tokio::test]
async fn keeps_a_blob_that_becomes_readable_again() {
    let Unreadable { registry, repo, clock, _metadata_dir, .. } = unreadable().await;
    assert_eq!(pass(&registry).await.problems.len(), 1);
    clock.advance(2 * HOUR);
    assert!(pass(&registry).await.is_sound());
    assert!(is_served(&repo, b"layer").await);
}

#[tokio::test]
async fn keeps_a_blob_whose_reads_fail_twice_within_an_hour() {
    let Unreadable { registry, repo, faults, _metadata_dir, .. } = unreadable().await;
    for _ in 0..3 {
        assert_eq!(pass(&registry).await.problems.len(), 1);
        faults.inject_next(Operation::Inspect, Fault::Fail(Failure::Io));
    }
    assert!(is_served(&repo, b"layer").await);
}
