//! Tests what the registry does with adopted blobs and manifests.

use orlop::clock::Clock;
use orlop::maintenance::fsck::fsck;
use orlop::maintenance::progress::Silent;
use orlop::metadata::{AdoptedBlob, BlobSize};
use orlop::oci::{BlobKey, Digest, Generation};
use orlop::registry::PutManifestError;
use orlop::store::{Adoption, BlobStore};

use crate::kit::{Kit, digest, image, push, put, read};

/// Adopts a blob into the repository `app`, as the tree of another registry has it.
async fn adopt(kit: &Kit, content: &[u8]) -> (BlobKey, Digest) {
    let key = BlobKey { digest: digest(content), generation: Generation::random() };
    let metadata = kit.registry.metadata();
    metadata.plan_blobs(vec![key.clone()], false).await.expect("planned");
    let file = kit.metadata_dir.path().join("data");
    std::fs::write(&file, content).expect("written");
    let file = kit.store.adopt(&file, &key, Adoption::Hardlink).await.expect("linked");
    kit.store.sync_adopted(std::slice::from_ref(&key)).await.expect("synced");
    let size = BlobSize { logical: file.size, allocated: file.allocated };
    let repo = "app".parse().expect("name");
    let blob = AdoptedBlob { key: key.clone(), repo, size, hardlinked: file.links > 1, verified: false };
    metadata.adopt_blobs(vec![blob], kit.clock.now()).await.expect("adopted");
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
    kit.store.adopt(&file, &key, Adoption::Copy).await.expect("copied");
    kit.store.sync_adopted(std::slice::from_ref(&key)).await.expect("synced");
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
