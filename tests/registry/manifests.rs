//! Tests that accepted manifests are complete, and that unreferenced manifests are collected.

use std::time::Duration;

use orlop::fair::Client;
use orlop::metadata::EdgeKind;
use orlop::registry::{DeleteError, PutManifestError, RepositoryError};

use crate::kit::*;

const MOMENT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn rejects_a_manifest_until_everything_it_refers_to_exists() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let config = push(&repo, b"{}").await;
    let layer = digest(b"layer");
    match put(&repo, &["latest"], &image(&config, &[&layer])).await {
        Err(PutManifestError::Missing(missing)) => assert_eq!(missing, [(layer, EdgeKind::Blob)]),
        other => panic!("{other:?}"),
    }
    assert!(!has(&repo, "latest").await);
    push(&repo, b"layer").await;
    put(&repo, &["latest"], &image(&config, &[&digest(b"layer")])).await.expect("complete");
    assert!(has(&repo, "latest").await);
}

#[tokio::test]
async fn a_manifest_cannot_use_a_blob_of_another_repository() {
    let kit = Kit::new();
    let config = push(&kit.repo("a"), b"{}").await;
    assert!(put(&kit.repo("b"), &[], &image(&config, &[])).await.is_err());
    kit.repo("b").mount(&config, Some(kit.repo("a").name())).await.expect("mount").expect("found");
    put(&kit.repo("b"), &[], &image(&config, &[])).await.expect("mounted");
}

#[tokio::test]
async fn a_tagged_image_is_never_collected() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let (manifest, config, layer) = push_image(&repo, "latest", "layer").await;
    for _ in 0..10 {
        kit.pass(UNTAGGED).await;
    }
    assert!(has(&repo, "latest").await && has(&repo, manifest.as_str()).await);
    assert!(read(&repo, &config).await.is_some() && read(&repo, &layer).await.is_some());
}

#[tokio::test]
async fn a_deleted_image_frees_its_space_after_the_trash_time() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let (manifest, _, layer) = push_image(&repo, "latest", "layer").await;
    repo.delete_manifest(&manifest).await.expect("deleted");
    assert!(!has(&repo, "latest").await && !has(&repo, manifest.as_str()).await, "gone at once");
    kit.pass(TRASH - MOMENT).await;
    assert!(read(&repo, &layer).await.is_some(), "it can still be restored");
    kit.pass(2 * MOMENT).await;
    assert!(kit.store.keys().is_empty(), "{:?}", kit.store.keys());
}

#[tokio::test]
async fn pushing_the_manifest_again_restores_a_deleted_image() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let (manifest, config, layer) = push_image(&repo, "latest", "layer").await;
    repo.delete_manifest(&manifest).await.expect("deleted");
    kit.pass(TRASH - MOMENT).await;
    put(&repo, &["again"], &image(&config, &[&layer])).await.expect("restored");
    kit.pass(2 * TRASH).await;
    assert!(has(&repo, "again").await && read(&repo, &layer).await.is_some());
}

#[tokio::test]
async fn an_untagged_image_is_collected_after_the_untagged_time_and_the_trash_time() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let (old, _, old_layer) = push_image(&repo, "latest", "old").await;
    kit.pass(Duration::from_secs(10_000)).await;
    push_image(&repo, "latest", "new").await;
    kit.pass(UNTAGGED - MOMENT).await;
    assert!(has(&repo, old.as_str()).await);
    kit.pass(2 * MOMENT).await;
    assert!(!has(&repo, old.as_str()).await);
    kit.pass(TRASH + MOMENT).await;
    assert!(read(&repo, &old_layer).await.is_none());
    assert_eq!(kit.store.keys().len(), 2, "the new image's two blobs");
}

#[tokio::test]
async fn a_pull_extends_the_life_of_an_untagged_manifest() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let (old, _, _) = push_image(&repo, "latest", "old").await;
    push_image(&repo, "latest", "new").await;
    kit.pass(UNTAGGED - MOMENT).await;
    repo.record_pull(&old);
    kit.pass(UNTAGGED - MOMENT).await;
    assert!(has(&repo, old.as_str()).await);
    kit.pass(2 * MOMENT).await;
    assert!(!has(&repo, old.as_str()).await);
}

#[tokio::test]
async fn a_child_of_a_live_index_cannot_be_deleted_and_is_collected_with_it() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let (child, _, _) = push_image(&repo, "child", "layer").await;
    let parent = put(&repo, &["multi"], &index(&[&child])).await.expect("index");
    match repo.delete_manifest(&child).await {
        Err(DeleteError::HeldBy(holder)) => assert_eq!(holder, parent),
        other => panic!("{other:?}"),
    }
    repo.delete_tag(&"child".parse().expect("tag")).await.expect("tag deleted");
    repo.delete_manifest(&parent).await.expect("index deleted");
    kit.pass(TRASH - MOMENT).await;
    assert!(has(&repo, child.as_str()).await, "the child stays while the index can be restored");
    kit.pass(2 * LEASE).await;
    kit.pass(TRASH + LEASE).await;
    assert!(!has(&repo, child.as_str()).await);
    assert!(kit.store.keys().is_empty());
}

#[tokio::test]
async fn a_blob_needed_by_a_live_manifest_cannot_be_deleted() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let (manifest, _, layer) = push_image(&repo, "latest", "layer").await;
    assert!(matches!(repo.delete_blob(&layer).await, Err(DeleteError::HeldBy(holder)) if holder == manifest));
    repo.delete_manifest(&manifest).await.expect("deleted");
    repo.delete_blob(&layer).await.expect("only the trash needs it");
    assert!(read(&repo, &layer).await.is_none(), "hidden at once");
    push(&repo, b"layer").await;
    assert!(read(&repo, &layer).await.is_some(), "a push unhides it");
}

#[tokio::test]
async fn a_lease_keeps_a_pushed_blob_until_its_manifest_arrives() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let config = push(&repo, b"{}").await;
    kit.pass(LEASE - MOMENT).await;
    repo.blob(&config).await.expect("requested again");
    kit.pass(LEASE - LEASE / 8).await;
    put(&repo, &["late"], &image(&config, &[])).await.expect("leased until now");
    let other = push(&repo, b"unreferenced").await;
    kit.pass(LEASE + MOMENT).await;
    assert!(read(&repo, &other).await.is_none());
    assert_eq!(kit.store.keys().len(), 1);
}

#[tokio::test]
async fn a_long_upload_extends_the_leases_of_its_repository() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let config = push(&repo, b"{}").await;
    let id = repo.start_upload(orlop::oci::Algorithm::Sha256).await.expect("upload");
    for piece in [b"1", b"2", b"3"] {
        kit.pass(LEASE - MOMENT).await;
        repo.append(id, None, body(&[piece])).await.expect("chunk");
    }
    repo.finish(id, None, body(&[]), digest(b"123")).await.expect("blob");
    kit.pass(LEASE - MOMENT).await;
    put(&repo, &["slow"], &image(&config, &[&digest(b"123")])).await.expect("both are there");
}

#[tokio::test]
async fn a_deleted_repository_can_be_restored() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let (manifest, _, layer) = push_image(&repo.clone().on_behalf_of("ann"), "latest", "layer").await;
    repo.delete().await.expect("started");
    drop(repo);
    let kit = kit.restarted().await;
    let job = orlop::jobs::RepositoryJob::new(std::sync::Arc::clone(&kit.registry), 1);
    while orlop::jobs::Job::tick(&job).await.expect("a step") {}
    let repo = kit.repo("a");
    assert!(!has(&repo, "latest").await);
    let trash = kit.registry.metadata().removed_manifests(None, None, 10).await.expect("listed");
    assert_eq!(trash.items[0].digest, manifest);
    kit.pass(TRASH / 2).await;
    repo.restore(None).await.expect("started");
    while orlop::jobs::Job::tick(&job).await.expect("a step") {}
    kit.pass(TRASH * 2).await;
    assert!(has(&kit.repo("a"), "latest").await && read(&kit.repo("a"), &layer).await.is_some());
    let latest = "latest".parse().expect("tag");
    let history =
        kit.registry.metadata().tag_history(repo.name(), Some(&latest), None, 10).await.expect("read");
    assert_eq!(history.items.last().and_then(|row| row.by.as_deref()), Some("ann"));
}

#[tokio::test]
async fn a_repository_can_be_renamed_and_renamed_back() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let (manifest, ..) = push_image(&repo, "latest", "layer").await;
    let other = kit.repo("b");
    repo.rename(other.name()).await.expect("renamed");
    assert!(matches!(repo.rename(other.name()).await, Err(RepositoryError::Unknown)));
    assert!(has(&other, manifest.as_str()).await && !has(&repo, "latest").await);
    other.rename(repo.name()).await.expect("renamed back");
    assert!(has(&repo, "latest").await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_large_manifest_loses_its_place_only_while_others_wait() {
    const LARGE: usize = 1 << 20;
    let kit = Kit::new();
    let user = |number: usize| kit.repo("a").for_client(Client::User(number.to_string().into()));
    let mut places = Vec::new();
    for number in 0..8 {
        places.push(user(number).manifest_place(LARGE).await.expect("a place"));
    }
    let kept = tokio::time::timeout(Duration::from_secs(3600), places[0].lost()).await;
    assert!(kept.is_err(), "no client waits");
    let waiting = tokio::spawn({
        let repo = user(9);
        async move { repo.manifest_place(LARGE).await }
    });
    let lost = futures_util::future::select_all(places.iter().map(|place| Box::pin(place.lost())));
    let ((), first, _) =
        tokio::time::timeout(Duration::from_secs(10), lost).await.expect("one loses its place");
    drop(places.swap_remove(first));
    waiting.await.expect("task").expect("a place");
    assert!(user(10).manifest_place(1000).await.is_ok(), "small manifests do not wait");
}
