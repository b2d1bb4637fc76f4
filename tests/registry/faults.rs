//! Everything that can go wrong, at every place where it can: one push of an image with an interrupted and
//! resumed upload, and its deletion, with each fault at each operation on the bytes and on the facts in turn.
//! After each the machine loses its power and starts again.

use std::sync::Arc;
use std::time::Duration;

use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::jobs::{Collector, CollectorSettings, fsck};
use orlop::metadata::faulty as facts;
use orlop::metadata::sqlite::{Access as FactsAccess, SqliteMetadata};
use orlop::oci::{Algorithm, Digest};
use orlop::registry::{Access, Registry, Repository, Settings};
use orlop::store::{MemoryStore, faulty as bytes};
use tempfile::TempDir;

use crate::kit::{LEASE, TRASH, UNTAGGED, body, broken, digest, has, image, push, put, read};

/// A machine whose stores do as they are told to.
struct Machine {
    folder: TempDir,
    medium: MemoryStore,
    bytes: bytes::Faults,
    facts: facts::Faults,
    clock: Arc<ManualClock>,
    registry: Arc<Registry>,
    collector: Collector,
}

impl Machine {
    fn new() -> Self {
        let folder = TempDir::new().expect("temporary folder");
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
        let (medium, bytes, facts) = (MemoryStore::new(), bytes::Faults::new(), facts::Faults::new());
        let (registry, collector) = start(&folder, &medium, &bytes, &facts, &clock);
        Self { folder, medium, bytes, facts, clock, registry, collector }
    }

    fn repo(&self) -> Repository {
        self.registry.repository("a".parse().expect("name"), Access { push: true })
    }

    /// Loses its power, and starts again with stores that work.
    async fn power_cut(&mut self) {
        self.medium.power_cut();
        self.bytes.reset();
        self.facts.reset();
        self.medium = self.medium.reopened();
        (self.registry, self.collector) =
            start(&self.folder, &self.medium, &self.bytes, &self.facts, &self.clock);
        self.registry.recover().await.expect("recovery");
    }

    /// All is as it should be: accepted images are whole, a push works, and in the end nothing is left.
    async fn prove(&mut self, accepted: Option<&Digest>) {
        let repo = self.repo();
        if let Some(manifest) = accepted {
            assert_whole(&repo, manifest).await;
        }
        let problems = self.registry.metadata().verify().await.expect("facts");
        assert!(problems.is_empty(), "{problems:?}");
        let manifest = push_image(&repo).await.expect("a push works again");
        assert_whole(&repo, &manifest).await;
        repo.delete_manifest(&manifest).await.expect("deleted");
        for _ in 0..4 {
            self.clock.advance(UNTAGGED + TRASH + LEASE);
            self.collector.run_to_end(|_| {}).await.expect("collection");
        }
        let totals = self.registry.metadata().totals().await.expect("totals");
        assert_eq!((totals.blobs, totals.manifests, totals.uploads), (0, 0, 0));
        // A power cut may bring removed names back. Only `fsck` looks for them.
        let report = fsck::fsck(&self.registry, true, &orlop::jobs::progress::Silent).await.expect("fsck");
        assert!(self.medium.keys().is_empty(), "{report:?}");
        assert!(self.medium.uploads().is_empty(), "{report:?}");
    }
}

fn start(
    folder: &TempDir,
    medium: &MemoryStore,
    byte_faults: &bytes::Faults,
    fact_faults: &facts::Faults,
    clock: &Arc<ManualClock>,
) -> (Arc<Registry>, Collector) {
    let sqlite = SqliteMetadata::open(folder.path(), FactsAccess::ReadWrite).expect("facts");
    let blobs = Arc::new(bytes::Faulty::new(medium.clone(), byte_faults.clone()));
    let metadata = Arc::new(facts::Faulty::new(sqlite, fact_faults.clone()));
    let shared: Arc<dyn Clock> = clock.clone();
    let settings = Settings { lease: LEASE, min_free: 0, warn_free: 0, ..Settings::default() };
    let registry = Registry::new(blobs, metadata, shared, settings);
    let rules = CollectorSettings {
        trash: TRASH,
        untagged: Some(UNTAGGED),
        upload_expiry: Duration::from_secs(300),
        batch: 100,
    };
    let collector = Collector::new(Arc::clone(&registry), rules);
    (registry, collector)
}

const LAYER: &[u8] = b"a layer that comes in two pieces";

/// Pushes an image whose layer's upload breaks off and is resumed. `None` if something went wrong.
async fn push_image(repo: &Repository) -> Option<Digest> {
    let (config, layer) = (b"{}", digest(LAYER));
    let id = repo.begin_upload(Algorithm::Sha256).await.ok()?;
    repo.finish(id, None, body(&[config]), digest(config)).await.ok()?;
    let id = repo.begin_upload(Algorithm::Sha256).await.ok()?;
    repo.append(id, None, broken(&LAYER[..10])).await.err()?;
    let offset = repo.upload_offset(id).await.ok()?;
    let rest = &LAYER[usize::try_from(offset).ok()?..];
    repo.finish(id, None, body(&[rest]), layer.clone()).await.ok()?;
    put(repo, &["latest"], &image(&digest(config), &[&layer])).await.ok()
}

async fn assert_whole(repo: &Repository, manifest: &Digest) {
    assert!(has(repo, "latest").await && has(repo, manifest.as_str()).await);
    assert_eq!(read(repo, &digest(LAYER)).await.as_deref(), Some(LAYER));
    assert_eq!(read(repo, &digest(b"{}")).await.as_deref(), Some(&b"{}"[..]));
}

/// An upload that is settled, survives a power cut, and is resumed: the part in which a hash state is taken up.
async fn resume_behind_a_restart(machine: &mut Machine) -> Option<Digest> {
    let repo = machine.repo();
    let id = repo.begin_upload(Algorithm::Sha256).await.ok()?;
    let _ = repo.append(id, None, broken(&LAYER[..10])).await;
    machine.registry.settle_uploads(true).await;
    machine.power_cut().await;
    let repo = machine.repo();
    let offset = repo.upload_offset(id).await.ok()?;
    let rest = &LAYER[usize::try_from(offset).ok()?..];
    repo.finish(id, None, body(&[rest]), digest(LAYER)).await.ok()?;
    push(&repo, b"{}").await;
    put(&repo, &["latest"], &image(&digest(b"{}"), &[&digest(LAYER)])).await.ok()
}

#[tokio::test]
async fn every_fault_of_the_bytes_leaves_accepted_images_whole() {
    use bytes::{Failure, Fault};
    let healthy = Machine::new();
    push_image(&healthy.repo()).await.expect("nothing goes wrong");
    let operations = healthy.bytes.count();
    let faults = [
        Fault::Fail(Failure::Io),
        Fault::Fail(Failure::Full),
        Fault::FailAfter(Failure::Io),
        Fault::Torn(Failure::Full),
        Fault::Crash,
        Fault::CrashAfter,
    ];
    for at in 0..operations {
        for fault in faults {
            let mut machine = Machine::new();
            machine.bytes.nth(at, fault);
            let accepted = push_image(&machine.repo()).await;
            machine.power_cut().await;
            machine.prove(accepted.as_ref()).await;
        }
    }
}

#[tokio::test]
async fn every_fault_of_the_facts_leaves_accepted_images_whole() {
    use facts::{Failure, Fault};
    let healthy = Machine::new();
    push_image(&healthy.repo()).await.expect("nothing goes wrong");
    let operations = healthy.facts.count();
    let faults = [
        Fault::Fail(Failure::Io),
        Fault::Fail(Failure::Full),
        Fault::FailAfter(Failure::Io),
        Fault::Crash,
        Fault::CrashAfter,
    ];
    for at in 0..operations {
        for fault in faults {
            let mut machine = Machine::new();
            machine.facts.nth(at, fault);
            let accepted = push_image(&machine.repo()).await;
            machine.power_cut().await;
            machine.prove(accepted.as_ref()).await;
        }
    }
}

#[tokio::test]
async fn a_torn_publish_and_a_power_cut_leave_nothing_wrong() {
    let mut machine = Machine::new();
    machine.medium.set_torn_publish(true);
    assert_eq!(push_image(&machine.repo()).await, None);
    machine.power_cut().await;
    machine.medium.set_torn_publish(false);
    machine.prove(None).await;
}

#[tokio::test]
async fn every_fault_around_a_resumed_upload_leaves_accepted_images_whole() {
    use bytes::{Failure, Fault};
    for at in 0..16 {
        for fault in
            [Fault::Fail(Failure::Io), Fault::FailAfter(Failure::Io), Fault::Crash, Fault::CrashAfter]
        {
            let mut machine = Machine::new();
            machine.bytes.nth(at, fault);
            let accepted = resume_behind_a_restart(&mut machine).await;
            machine.power_cut().await;
            machine.prove(accepted.as_ref()).await;
        }
    }
}

#[tokio::test]
async fn a_stalled_write_lands_before_its_successor_learns_the_offset() {
    let machine = Machine::new();
    let repo = machine.repo();
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    machine.bytes.next_of(bytes::Operation::Write, bytes::Fault::Stall);
    let first = tokio::spawn({
        let repo = repo.clone();
        async move { repo.append(id, None, body(&[b"first"])).await }
    });
    machine.bytes.stalled(1).await;
    let mut second = tokio::spawn({
        let repo = repo.clone();
        async move { repo.upload_offset(id).await }
    });
    let early = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
    assert!(early.is_err(), "no offset is told while a write is under way");
    machine.bytes.release();
    first.await.expect("task").expect("its bytes had come before it was asked to stop");
    assert_eq!(second.await.expect("task").expect("offset"), 5);
    repo.finish(id, None, body(&[b" second"]), digest(b"first second")).await.expect("blob");
    assert_eq!(read(&repo, &digest(b"first second")).await.as_deref(), Some(&b"first second"[..]));
}

#[tokio::test]
async fn an_upload_that_expires_during_its_commit_is_committed() {
    let machine = Machine::new();
    let repo = machine.repo();
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    machine.bytes.next_of(bytes::Operation::Publish, bytes::Fault::Stall);
    let commit = tokio::spawn({
        let repo = repo.clone();
        async move { repo.finish(id, None, body(&[b"slow disk"]), digest(b"slow disk")).await }
    });
    machine.bytes.stalled(1).await;
    machine.clock.advance(Duration::from_secs(100_000));
    machine.collector.run_to_end(|_| {}).await.expect("collection");
    machine.bytes.release();
    commit.await.expect("task").expect("committed");
    assert!(read(&repo, &digest(b"slow disk")).await.is_some());
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_write_can_go_on() {
    let machine = Machine::new();
    let repo = machine.repo();
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    let endless = futures_util::StreamExt::boxed(futures_util::StreamExt::chain(
        futures_util::stream::iter([Ok(bytes_of(b"what came"))]),
        futures_util::stream::pending(),
    ));
    let request = repo.append(id, None, endless);
    assert!(tokio::time::timeout(Duration::from_millis(50), request).await.is_err(), "it waits for more");
    let offset = loop {
        match repo.upload_offset(id).await {
            Ok(offset) => break offset,
            Err(orlop::registry::UploadError::TakenOver) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(offset, 9, "what came before the client left is there");
    repo.finish(id, None, body(&[b" back"]), digest(b"what came back")).await.expect("blob");
}

fn bytes_of(content: &[u8]) -> ::bytes::Bytes {
    ::bytes::Bytes::copy_from_slice(content)
}
