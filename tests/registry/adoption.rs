//! Tests what the registry does with adopted blobs and manifests.

use orlop::clock::Clock;
use orlop::jobs::{Scrub, ScrubSettings};
use orlop::maintenance::progress::Silent;
use orlop::maintenance::{self, fsck::fsck};
use orlop::metadata::{AdoptedBlob, BlobSize};
use orlop::oci::{BlobKey, Digest, Generation};
use orlop::registry::{MAX_VERIFICATION_WAIT, PutManifestError, Registry};
use orlop::store::Adoption;
use orlop::store::faulty::{Fault, Operation};
use tempfile::NamedTempFile;
use tokio::time::Instant;

use crate::kit::{Kit, LEASE, TRASH, UNTAGGED, digest, image, push, put, read};
use crate::machine::Machine;
use crate::old_registry::OldRegistry;

/// Adopts a blob into the repository `app`, as the tree of another registry has it.
async fn adopt(kit: &Kit, content: &[u8]) -> (BlobKey, Digest) {
    adopt_into(&kit.registry, content).await
}

async fn adopt_into(registry: &Registry, content: &[u8]) -> (BlobKey, Digest) {
    let key = BlobKey { digest: digest(content), generation: Generation::random() };
    let (metadata, store) = (registry.metadata(), registry.blobs());
    metadata.plan_blobs(vec![key.clone()], false).await.expect("planned");
    let source = NamedTempFile::new().expect("a file");
    std::fs::write(source.path(), content).expect("written");
    let file = store.adopt(source.path(), &key, Adoption::Hardlink).await.expect("linked");
    store.sync_adopted(std::slice::from_ref(&key)).await.expect("synced");
    let size = BlobSize { logical: file.size, allocated: file.allocated };
    let repo = "app".parse().expect("name");
    let blob = AdoptedBlob { key: key.clone(), repo, size, hardlinked: file.links > 1, verified: false };
    metadata.adopt_blobs(vec![blob], registry.clock().now()).await.expect("adopted");
    (key, digest(content))
}

async fn unverified(kit: &Kit) -> usize {
    kit.registry.metadata().next_unverified(None, 10).await.expect("read").len()
}

#[tokio::test]
async fn a_push_verifies_what_it_relies_on() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let config = push(&repo, b"{}").await;
    let (_, layer) = adopt(&kit, b"layer").await;
    let (_, other) = adopt(&kit, b"other").await;
    let (_, probed) = adopt(&kit, b"probed").await;
    assert_eq!(read(&repo, &layer).await.as_deref(), Some(&b"layer"[..]));
    assert_eq!(unverified(&kit).await, 3, "a pull waits for nothing");
    repo.probe_blob(&probed).await.expect("verified");
    assert!(kit.repo("b").mount(&other, Some(repo.name())).await.expect("no error").is_some());
    put(&repo, &["v1"], &image(&config, &[&layer])).await.expect("accepted");
    assert_eq!(unverified(&kit).await, 0);
    assert!(fsck(&kit.registry, false, &Silent).await.expect("checked").is_sound());
}

#[tokio::test]
async fn a_damaged_blob_is_absent_until_it_is_uploaded() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let config = push(&repo, b"{}").await;
    let (key, layer) = adopt(&kit, b"layer").await;
    assert!(kit.store.damage(&key));
    assert!(repo.probe_blob(&layer).await.is_err());
    let refused = put(&repo, &["v1"], &image(&config, &[&layer])).await;
    assert!(matches!(refused, Err(PutManifestError::Missing(_))), "{refused:?}");
    push(&repo, b"layer").await;
    put(&repo, &["v1"], &image(&config, &[&layer])).await.expect("accepted");
    assert_eq!(read(&repo, &layer).await.as_deref(), Some(&b"layer"[..]));
    assert!(fsck(&kit.registry, false, &Silent).await.expect("checked").is_sound());
}

#[tokio::test]
async fn a_crash_between_file_and_row_leaves_no_orphan() {
    let kit = Kit::new();
    let key = BlobKey { digest: digest(b"layer"), generation: Generation::random() };
    kit.registry.metadata().plan_blobs(vec![key.clone()], false).await.expect("planned");
    let file = kit.metadata_dir.path().join("data");
    std::fs::write(&file, b"layer").expect("written");
    let store = kit.registry.blobs();
    store.adopt(&file, &key, Adoption::Copy).await.expect("copied");
    store.sync_adopted(std::slice::from_ref(&key)).await.expect("synced");
    assert!(fsck(&kit.registry, false, &Silent).await.expect("checked").is_sound());
    let kit = kit.restarted().await;
    while kit.registry.remove_pending_blobs(10).await.expect("removed").more {}
    assert_eq!(kit.store.keys(), []);
    assert!(fsck(&kit.registry, false, &Silent).await.expect("checked").is_sound());
}

#[tokio::test]
async fn one_verification_serves_all_that_wait() {
    let kit = Kit::new();
    adopt(&kit, b"layer").await;
    let repo = kit.repo("app");
    let probes = (0..8).map(|_| {
        let repo = repo.clone();
        tokio::spawn(async move { repo.probe_blob(&digest(b"layer")).await.is_ok() })
    });
    for probe in probes.collect::<Vec<_>>() {
        assert!(probe.await.expect("ended"));
    }
    assert_eq!(unverified(&kit).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_push_waits_only_for_a_while() {
    let machine = Machine::new();
    let repo = machine.repo("app");
    let (_, layer) = adopt_into(&machine.registry, b"layer").await;
    machine.store_faults.inject_next(Operation::Inspect, Fault::Stall);
    let began = Instant::now();
    assert!(repo.probe_blob(&layer).await.is_err());
    assert_eq!(began.elapsed().as_secs(), MAX_VERIFICATION_WAIT.as_secs());
    tokio::time::resume();
    machine.store_faults.wait_until_stalled(1).await;
    machine.store_faults.release();
    repo.probe_blob(&layer).await.expect("the verification has gone on");
}

#[tokio::test]
async fn the_scrub_reads_adopted_blobs_first_and_sees_when_the_old_tree_is_gone() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let mut contents = [*b"one", *b"two"];
    contents.sort_by_key(|content| digest(content));
    let pushed = push(&repo, &contents[0]).await;
    let (adopted_key, adopted) = adopt(&kit, &contents[1]).await;
    let pushed_key = repo.without_push().blob(&pushed).await.expect("blob").key;
    adopt(&kit, b"sound").await;
    assert!(kit.store.damage(&pushed_key) && kit.store.damage(&adopted_key));
    let figures = || async { kit.registry.metadata().adoption_figures().await.expect("read") };
    assert_eq!((figures().await.unverified_blobs, figures().await.hardlinked_blobs), (2, 2));

    let settings = ScrubSettings { period: Some(std::time::Duration::from_secs(1)), rate: 1 << 20 };
    let scrub = Scrub::new(std::sync::Arc::clone(&kit.registry), settings);
    let report = scrub.run_to_end(None, &Silent).await.expect("a pass");
    let found: Vec<_> = report.problems.iter().map(|problem| problem.subject.clone()).collect();
    assert_eq!(found, [adopted.to_string(), pushed.to_string()]);
    assert_eq!(report.blobs, 3, "each is read once");
    // The file of the damaged one is still counted as shared: nothing was learned about it.
    assert_eq!((figures().await.unverified_blobs, figures().await.hardlinked_blobs), (0, 1));
}

#[tokio::test]
async fn what_was_removed_here_comes_back_only_for_what_is_new_there() {
    let old = OldRegistry::new();
    let layer = digest(b"layer");
    let first = old.image("app", b"layer");
    let machine = Machine::new();
    // After the times of the tree's files.
    machine.clock.advance(std::time::Duration::from_secs(4_000_000_000));
    let tree = old.tree();
    let adopt = || maintenance::adopt::adopt(&machine.registry, &tree, Adoption::Hardlink, &Silent);
    assert_eq!(adopt().await.expect("adopted").manifests, 1);
    let repo = machine.repo("app");
    repo.delete_manifest(&first).await.expect("deleted");
    for _ in 0..4 {
        machine.clock.advance(UNTAGGED + TRASH + LEASE);
        machine.collector.run_to_end(|_| {}).await.expect("collection");
    }
    assert_eq!(machine.medium.keys(), []);

    let again = adopt().await.expect("adopted");
    assert_eq!((again.manifests, again.blobs, again.flaws.len()), (0, 0, 0), "{again:?}");
    assert_eq!(machine.medium.keys(), []);

    machine.clock.advance(LEASE);
    let new = image(&digest(b"{}"), &[&layer, &layer]);
    old.manifest_at("app", &new, machine.clock.now());
    let again = adopt().await.expect("adopted");
    assert_eq!((again.manifests, again.blobs, again.flaws.len()), (1, 2, 0), "{again:?}");
    assert_eq!(read(&repo, &layer).await.as_deref(), Some(&b"layer"[..]));
}

#[tokio::test]
async fn a_blob_is_served_and_verified_under_the_digest_that_it_was_pushed_with() {
    let old = OldRegistry::new();
    old.image("app", b"layer");
    let alias = old.sha512_alias("app", b"layer");
    let machine = Machine::new();
    let adopted =
        maintenance::adopt::adopt(&machine.registry, &old.tree(), Adoption::Hardlink, &Silent).await;
    assert_eq!(adopted.expect("adopted").blobs, 3);
    let repo = machine.repo("app");
    assert_eq!(read(&repo, &alias).await.as_deref(), Some(&b"layer"[..]));
    repo.probe_blob(&alias).await.expect("verified");
}
