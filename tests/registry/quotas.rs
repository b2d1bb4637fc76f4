//! Quotas: exact also where many push at once, and looked at before a body is taken to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use orlop::metadata::Quota;
use orlop::oci::Algorithm;
use orlop::registry::{BlobError, Fault, PutManifestError, UploadError};

use crate::kit::{Kit, body, digest, index, push, put};

async fn limited(bytes: Option<u64>, tags: Option<u64>) -> Kit {
    let scope = "team/".parse().expect("a scope");
    let kit = Kit::with(|settings| settings.quotas = vec![Quota { bytes, tags, ..Quota::of(scope) }]);
    kit.registry.enforce_quotas().await.expect("set");
    kit
}

#[tokio::test]
async fn a_refused_push_leaves_nothing() {
    let kit = limited(Some(10), None).await;
    let repo = kit.repo("team/app");
    push(&repo, b"12345678").await;
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("begun");
    let error = repo.finish(id, None, body(&[b"abc"]), digest(b"abc")).await.expect_err("refused");
    assert!(matches!(error, UploadError::Fault(Fault::OverQuota(_))));
    let text = error.to_string();
    assert!(text.starts_with("the quota of team/ is 10 bytes: 8 are used, and this needs 3 more"), "{text}");
    assert!(matches!(repo.upload_offset(id).await, Err(UploadError::Unknown)));
    assert_eq!((kit.bytes.keys().len(), kit.bytes.uploads().len()), (1, 0));
    push(&kit.repo("other"), b"abc").await;
    let refused = repo.mount(&digest(b"abc"), None).await;
    assert!(matches!(refused, Err(BlobError::Fault(Fault::OverQuota(_)))));
    push(&repo, b"ab").await;
}

#[tokio::test]
async fn a_body_that_cannot_fit_is_not_taken_to_its_end() {
    let kit = limited(Some(1 << 20), None).await;
    let repo = kit.repo("team/app");
    let taken = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&taken);
    let pieces = stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from_static(&[0; 64 << 10]))
    });
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("begun");
    let error = repo.append(id, None, pieces.take(1000).boxed()).await.expect_err("refused");
    assert!(matches!(error, UploadError::Fault(Fault::OverQuota(_))), "{error}");
    assert!(taken.load(Ordering::Relaxed) < 20);
    assert_eq!(kit.bytes.uploads().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_at_once_do_not_pass_a_quota() {
    let kit = limited(Some(50), None).await;
    let pushes = (0..20_u8).map(|number| {
        let repo = kit.repo(&format!("team/app{}", number % 3));
        async move {
            let content = [number; 10];
            let id = repo.begin_upload(Algorithm::Sha256).await.expect("begun");
            repo.finish(id, None, body(&[&content]), digest(&content)).await.is_ok()
        }
    });
    let accepted = future::join_all(pushes).await.into_iter().filter(|accepted| *accepted).count();
    assert_eq!(accepted, 5);
    assert_eq!((kit.bytes.keys().len(), kit.bytes.uploads().len()), (5, 0));
}

#[tokio::test]
async fn a_tag_too_many_is_refused() {
    let kit = limited(None, Some(1)).await;
    let repo = kit.repo("team/app");
    put(&repo, &["v1"], &index(&[])).await.expect("accepted");
    put(&repo, &["v1"], &index(&[])).await.expect("accepted again");
    let error = put(&repo, &["v2"], &index(&[])).await.expect_err("refused");
    assert!(matches!(error, PutManifestError::Fault(Fault::OverQuota(_))), "{error}");
    put(&kit.repo("other"), &["v2"], &index(&[])).await.expect("accepted");
}
