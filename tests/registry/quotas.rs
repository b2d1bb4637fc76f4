//! Tests quotas: they are exact under concurrent pushes, and checked before a body is read to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use orlop::metadata::Quota;
use orlop::oci::{Algorithm, UploadId};
use orlop::registry::{BlobError, PutManifestError, RepositoryError, ServiceError, UploadError};

use crate::kit::{Kit, LEASE, body, digest, index, push, push_image, put};

async fn limited(bytes: Option<u64>, tags: Option<u64>) -> Kit {
    let scope = "team/".parse().expect("a scope");
    let kit = Kit::with(|settings| settings.quotas = vec![Quota { bytes, tags, ..Quota::of(scope) }]);
    kit.registry.enforce_quotas().await.expect("set");
    kit
}

#[tokio::test]
async fn a_rejected_push_leaves_nothing() {
    let kit = limited(Some(10), None).await;
    let repo = kit.repo("team/app");
    push(&repo, b"12345678").await;
    let id = repo.start_upload(Algorithm::Sha256).await.expect("started");
    let error = repo.finish(id, None, body(&[b"abc"]), digest(b"abc")).await.expect_err("rejected");
    assert!(matches!(error, UploadError::Service(ServiceError::OverQuota(_))));
    let text = error.to_string();
    assert!(text.starts_with("the quota of team/ is 10 bytes: 8 are used, and this needs 3 more"), "{text}");
    assert!(matches!(repo.upload_offset(id).await, Err(UploadError::Unknown)));
    assert_eq!((kit.store.keys().len(), kit.store.uploads().len()), (1, 0));
    push(&kit.repo("other"), b"abc").await;
    let rejected = repo.mount(&digest(b"abc"), None).await;
    assert!(matches!(rejected, Err(BlobError::Service(ServiceError::OverQuota(_)))));
    push(&repo, b"ab").await;
}

#[tokio::test]
#[expect(clippy::large_stack_arrays, reason = "a static, which is not on the stack")]
async fn a_body_that_cannot_fit_is_not_read_to_its_end() {
    let kit = limited(Some(1 << 20), None).await;
    let repo = kit.repo("team/app");
    let pieces_read = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&pieces_read);
    let pieces = stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from_static(&[0; 64 << 10]))
    });
    let id = repo.start_upload(Algorithm::Sha256).await.expect("started");
    let error = repo.append(id, None, pieces.take(1000).boxed()).await.expect_err("rejected");
    assert!(matches!(error, UploadError::Service(ServiceError::OverQuota(_))), "{error}");
    assert!(pieces_read.load(Ordering::Relaxed) < 20);
    assert_eq!(kit.store.uploads().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_pushes_do_not_exceed_a_quota() {
    let kit = limited(Some(50), None).await;
    let pushes = (0..20_u8).map(|number| {
        let repo = kit.repo(&format!("team/app{}", number % 3));
        async move {
            let content = [number; 10];
            let id = repo.start_upload(Algorithm::Sha256).await.expect("started");
            repo.finish(id, None, body(&[&content]), digest(&content)).await.is_ok()
        }
    });
    let accepted = future::join_all(pushes).await.into_iter().filter(|accepted| *accepted).count();
    assert_eq!(accepted, 5);
    assert_eq!((kit.store.keys().len(), kit.store.uploads().len()), (5, 0));
}

#[tokio::test]
async fn rejects_a_tag_above_the_quota() {
    let kit = limited(None, Some(1)).await;
    let repo = kit.repo("team/app");
    put(&repo, &["v1"], &index(&[])).await.expect("accepted");
    put(&repo, &["v1"], &index(&[])).await.expect("accepted again");
    let error = put(&repo, &["v2"], &index(&[])).await.expect_err("rejected");
    assert!(matches!(error, PutManifestError::Service(ServiceError::OverQuota(_))), "{error}");
    put(&kit.repo("other"), &["v2"], &index(&[])).await.expect("accepted");
}

async fn upload_of(kit: &Kit, repo: &str, bytes: usize) -> UploadId {
    let repo = kit.repo(repo);
    let id = repo.start_upload(Algorithm::Sha256).await.expect("started");
    repo.append(id, None, body(&[&vec![1; bytes]])).await.expect("appended");
    id
}

#[tokio::test]
async fn a_rename_moves_the_leftovers_of_the_target_name_into_the_other_quota() {
    let kit = limited(Some(12_000), None).await;
    push(&kit.repo("other"), &[1; 6000]).await;
    let upload = upload_of(&kit, "team/one", 7000).await;
    push_image(&kit.repo("team/new"), "latest", "layer").await;
    let renamed = kit.repo("team/new").rename(kit.repo("other").name()).await;
    assert!(matches!(renamed, Err(RepositoryError::Service(ServiceError::OverQuota(_)))), "{renamed:?}");
    kit.repo("team/one").cancel_upload(upload).await.expect("cancelled");
    kit.repo("team/new").rename(kit.repo("other").name()).await.expect("there is space");
    assert_eq!(used(&kit).await, 6000);
}

async fn used(kit: &Kit) -> u64 {
    kit.registry.quota_use(None).await.expect("read")[0].bytes
}

#[tokio::test]
async fn open_uploads_count_together() {
    let kit = limited(Some(1000), None).await;
    let first = upload_of(&kit, "team/one", 600).await;
    let repo = kit.repo("team/two");
    let second = repo.start_upload(Algorithm::Sha256).await.expect("started");
    let error = repo.append(second, None, body(&[&[0; 600]])).await.expect_err("rejected");
    assert!(error.to_string().contains("600 are used, and this needs 600 more"), "{error}");
    assert_eq!(used(&kit).await, 600);
    let kit = {
        kit.registry.checkpoint_uploads(true).await;
        kit.restarted().await
    };
    kit.registry.enforce_quotas().await.expect("set");
    assert_eq!(used(&kit).await, 600, "even after a restart");
    kit.repo("team/one").cancel_upload(first).await.expect("cancelled");
    assert_eq!(used(&kit).await, 0);
}

#[tokio::test]
async fn manifests_count_towards_the_quota() {
    let kit = limited(Some(600), None).await;
    let repo = kit.repo("team/app");
    let text = index(&[]);
    put(&repo, &["v1"], &text).await.expect("accepted");
    assert_eq!(used(&kit).await, text.len() as u64);
    put(&repo, &["v2"], &text).await.expect("it exists already");
    let large = format!("{text}{}", " ".repeat(600));
    let error = put(&repo, &["v3"], &large).await.expect_err("rejected");
    assert!(matches!(error, PutManifestError::Service(ServiceError::OverQuota(_))), "{error}");
    assert_eq!(used(&kit).await, text.len() as u64);
}

#[tokio::test]
async fn cancels_idle_uploads_before_rejecting_a_push() {
    let kit = limited(Some(1000), None).await;
    let idle = upload_of(&kit, "team/one", 600).await;
    kit.registry.checkpoint_uploads(true).await;
    kit.clock.advance(Duration::from_secs(300));
    let busy = upload_of(&kit, "team/one", 300).await;
    kit.registry.checkpoint_uploads(true).await;
    kit.clock.advance(Duration::from_secs(301));
    push(&kit.repo("team/two"), &[2; 500]).await;
    assert!(matches!(kit.repo("team/one").upload_offset(idle).await, Err(UploadError::Unknown)));
    assert_eq!(kit.repo("team/one").upload_offset(busy).await.expect("it continues"), 300);
    assert_eq!(used(&kit).await, 800);
}

#[tokio::test]
async fn empties_the_oldest_trash_of_the_scope_before_rejecting_a_push() {
    let kit = limited(Some(3000), None).await;
    let team = kit.repo("team/app");
    let other = kit.repo("other");
    let images = ["older", "newer"].map(|name| name.repeat(60));
    let mut deleted = Vec::new();
    for repo in [&team, &other] {
        for (tag, layer) in ["older", "newer"].iter().zip(&images) {
            let (manifest, _, _) = push_image(repo, tag, layer).await;
            kit.clock.advance(Duration::from_secs(1));
            repo.delete_manifest(&manifest).await.expect("deleted");
            deleted.push(manifest);
        }
    }
    kit.clock.advance(LEASE * 2);
    push(&team, &[3; 1000]).await;
    assert!(team.restore_manifest(&deleted[0]).await.is_err(), "the oldest is gone");
    team.restore_manifest(&deleted[1]).await.expect("removing it was not necessary");
    for kept in &deleted[2..] {
        other.restore_manifest(kept).await.expect("it is in another scope");
    }
}

#[tokio::test]
async fn keeps_the_trash_if_a_push_could_never_fit() {
    let kit = limited(Some(2000), None).await;
    let repo = kit.repo("team/app");
    let (manifest, _, _) = push_image(&repo, "v1", "layer").await;
    repo.delete_manifest(&manifest).await.expect("deleted");
    kit.clock.advance(LEASE);
    let id = repo.start_upload(Algorithm::Sha256).await.expect("started");
    repo.append(id, None, body(&[&[0; 2001]])).await.expect_err("rejected");
    repo.restore_manifest(&manifest).await.expect("it is still there");
}

#[tokio::test]
async fn rejects_a_push_if_only_leased_blobs_could_be_removed() {
    let kit = limited(Some(2000), None).await;
    let repo = kit.repo("team/app");
    push(&repo, &[1; 1500]).await;
    let id = repo.start_upload(Algorithm::Sha256).await.expect("started");
    repo.append(id, None, body(&[&[2; 1000]])).await.expect_err("rejected");
    assert!(repo.blob(&digest(&[1; 1500])).await.is_ok(), "its manifest may still arrive");
    kit.clock.advance(LEASE * 2);
    push(&repo, &[2; 1000]).await;
}
