//! Injects every fault at every operation of the store and of the metadata, one at a time, while an image is pushed
//! with an interrupted and resumed upload and then deleted. After each fault the machine loses power and restarts.

use std::time::Duration;

use orlop::maintenance::{fsck, progress};
use orlop::oci::{Algorithm, Digest};
use orlop::registry::Repository;
use orlop::store::faulty as faulty_store;

use crate::kit::{LEASE, TRASH, UNTAGGED, body, broken, digest, has, image, push, put, read};
use crate::machine::Machine;

/// Checks that an accepted image is complete, that a push works, and that nothing is left after a deletion.
async fn verify(machine: &Machine, accepted: Option<&Digest>) {
    let repo = machine.repo("a");
    if let Some(manifest) = accepted {
        assert_complete(&repo, manifest).await;
    }
    let problems = machine.registry.metadata().verify().await.expect("metadata");
    assert!(problems.is_empty(), "{problems:?}");
    let manifest = push_image(&repo).await.expect("a push works again");
    assert_complete(&repo, &manifest).await;
    repo.delete_manifest(&manifest).await.expect("deleted");
    for _ in 0..4 {
        machine.clock.advance(UNTAGGED + TRASH + LEASE);
        machine.collector.run_to_end(|_| {}).await.expect("collection");
    }
    let totals = machine.registry.metadata().totals().await.expect("totals");
    assert_eq!((totals.blobs, totals.manifests, totals.uploads), (0, 0, 0));
    // A power cut may bring removed names back. Only `fsck` finds them.
    let report = fsck::fsck(&machine.registry, true, &progress::Silent).await.expect("fsck");
    assert!(machine.medium.keys().is_empty(), "{report:?}");
    assert!(machine.medium.uploads().is_empty(), "{report:?}");
}

const LAYER: &[u8] = b"a layer that comes in two pieces";

/// Pushes an image whose layer upload is interrupted and resumed. Returns `None` if something went wrong.
async fn push_image(repo: &Repository) -> Option<Digest> {
    let config = b"{}";
    let layer = digest(LAYER);
    let id = repo.start_upload(Algorithm::Sha256).await.ok()?;
    repo.finish(id, None, body(&[config]), digest(config)).await.ok()?;
    let id = repo.start_upload(Algorithm::Sha256).await.ok()?;
    repo.append(id, None, broken(&LAYER[..10])).await.err()?;
    let offset = repo.upload_offset(id).await.ok()?;
    let rest = &LAYER[usize::try_from(offset).ok()?..];
    repo.finish(id, None, body(&[rest]), layer.clone()).await.ok()?;
    put(repo, &["latest"], &image(&digest(config), &[&layer])).await.ok()
}

async fn assert_complete(repo: &Repository, manifest: &Digest) {
    assert!(has(repo, "latest").await && has(repo, manifest.as_str()).await);
    assert_eq!(read(repo, &digest(LAYER)).await.as_deref(), Some(LAYER));
    assert_eq!(read(repo, &digest(b"{}")).await.as_deref(), Some(&b"{}"[..]));
}

/// Checkpoints an upload, cuts the power and resumes it, which restores the hash state.
async fn resume_after_a_restart(machine: &mut Machine) -> Option<Digest> {
    let repo = machine.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.ok()?;
    let _ = repo.append(id, None, broken(&LAYER[..10])).await;
    machine.registry.checkpoint_uploads(true).await;
    machine.power_cut().await;
    let repo = machine.repo("a");
    let offset = repo.upload_offset(id).await.ok()?;
    let rest = &LAYER[usize::try_from(offset).ok()?..];
    repo.finish(id, None, body(&[rest]), digest(LAYER)).await.ok()?;
    push(&repo, b"{}").await;
    put(&repo, &["latest"], &image(&digest(b"{}"), &[&digest(LAYER)])).await.ok()
}

#[tokio::test]
async fn every_store_fault_leaves_accepted_images_complete() {
    use faulty_store::{Failure, Fault};
    let healthy = Machine::new();
    push_image(&healthy.repo("a")).await.expect("nothing goes wrong");
    let operations = healthy.store_faults.count();
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
            machine.store_faults.inject_nth(at, fault);
            let accepted = push_image(&machine.repo("a")).await;
            machine.power_cut().await;
            verify(&machine, accepted.as_ref()).await;
        }
    }
}

#[tokio::test]
async fn every_metadata_fault_leaves_accepted_images_complete() {
    use orlop::faults::{Failure, Fault};
    let healthy = Machine::new();
    push_image(&healthy.repo("a")).await.expect("nothing goes wrong");
    let operations = healthy.metadata_faults.count();
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
            machine.metadata_faults.inject_nth(at, fault);
            let accepted = push_image(&machine.repo("a")).await;
            machine.power_cut().await;
            verify(&machine, accepted.as_ref()).await;
        }
    }
}

#[tokio::test]
async fn recovers_from_a_torn_publish_and_a_power_cut() {
    let mut machine = Machine::new();
    machine.medium.set_torn_publish(true);
    assert_eq!(push_image(&machine.repo("a")).await, None);
    machine.power_cut().await;
    machine.medium.set_torn_publish(false);
    verify(&machine, None).await;
}

#[tokio::test]
async fn every_fault_around_a_resumed_upload_leaves_accepted_images_complete() {
    use faulty_store::{Failure, Fault};
    for at in 0..16 {
        for fault in
            [Fault::Fail(Failure::Io), Fault::FailAfter(Failure::Io), Fault::Crash, Fault::CrashAfter]
        {
            let mut machine = Machine::new();
            machine.store_faults.inject_nth(at, fault);
            let accepted = resume_after_a_restart(&mut machine).await;
            machine.power_cut().await;
            verify(&machine, accepted.as_ref()).await;
        }
    }
}

#[tokio::test]
async fn a_stalled_write_ends_before_the_next_request_reads_the_offset() {
    let machine = Machine::new();
    let repo = machine.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    machine.store_faults.inject_next(faulty_store::Operation::Write, faulty_store::Fault::Stall);
    let first = tokio::spawn({
        let repo = repo.clone();
        async move { repo.append(id, None, body(&[b"first"])).await }
    });
    machine.store_faults.wait_until_stalled(1).await;
    let mut second = tokio::spawn({
        let repo = repo.clone();
        async move { repo.upload_offset(id).await }
    });
    let early = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
    assert!(early.is_err(), "no offset is returned during a write");
    machine.store_faults.release();
    first.await.expect("task").expect("its bytes arrived before it was asked to stop");
    assert_eq!(second.await.expect("task").expect("offset"), 5);
    repo.finish(id, None, body(&[b" second"]), digest(b"first second")).await.expect("blob");
    assert_eq!(read(&repo, &digest(b"first second")).await.as_deref(), Some(&b"first second"[..]));
}

#[tokio::test]
async fn an_upload_that_expires_during_its_commit_is_committed() {
    let machine = Machine::new();
    let repo = machine.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    machine.store_faults.inject_next(faulty_store::Operation::Publish, faulty_store::Fault::Stall);
    let commit = tokio::spawn({
        let repo = repo.clone();
        async move { repo.finish(id, None, body(&[b"slow disk"]), digest(b"slow disk")).await }
    });
    machine.store_faults.wait_until_stalled(1).await;
    machine.clock.advance(Duration::from_secs(100_000));
    machine.collector.run_to_end(|_| {}).await.expect("collection");
    machine.store_faults.release();
    commit.await.expect("task").expect("committed");
    assert!(read(&repo, &digest(b"slow disk")).await.is_some());
}

#[tokio::test]
async fn a_client_that_disconnects_during_a_write_can_resume() {
    let machine = Machine::new();
    let repo = machine.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
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
    assert_eq!(offset, 9, "the bytes sent before the client left are kept");
    repo.finish(id, None, body(&[b" back"]), digest(b"what came back")).await.expect("blob");
}

fn bytes_of(content: &[u8]) -> ::bytes::Bytes {
    ::bytes::Bytes::copy_from_slice(content)
}
