//! Tests uploads: one request owns an upload at a time, offsets are exact, and finished blobs are durable.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use orlop::fair::Client;
use orlop::oci::{Algorithm, Hasher, UploadId};
use orlop::registry::{BlobError, ClientBody, ClientError, Repository, ServiceError, UploadError};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::kit::*;

#[tokio::test]
async fn a_blob_uploaded_in_chunks_is_read_completely() {
    let kit = Kit::new();
    let repo = kit.repo("a/b");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    assert_eq!(repo.append(id, None, body(&[b"hello", b", "])).await.expect("first"), 7);
    assert_eq!(repo.append(id, Some(7..=11), body(&[b"world"])).await.expect("second"), 12);
    repo.finish(id, None, body(&[]), digest(b"hello, world")).await.expect("blob");
    assert_eq!(read(&repo, &digest(b"hello, world")).await.as_deref(), Some(&b"hello, world"[..]));
    assert!(matches!(repo.upload_offset(id).await, Err(UploadError::Unknown)));
}

#[tokio::test]
async fn a_blob_is_not_visible_in_another_repository() {
    let kit = Kit::new();
    let blob = push(&kit.repo("a"), b"secret").await;
    assert!(matches!(kit.repo("b").blob(&blob).await, Err(BlobError::Unknown)));
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    let outcome = repo.finish(id, None, body(&[b"what came"]), digest(b"what was announced")).await;
    assert!(matches!(outcome, Err(UploadError::WrongDigest { .. })));
    assert!(matches!(repo.upload_offset(id).await, Err(UploadError::Unknown)));
    assert!(kit.store.keys().is_empty() && kit.store.uploads().is_empty());
}

#[tokio::test]
async fn rejects_an_out_of_order_chunk_and_reports_the_offset() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    repo.append(id, Some(0..=2), body(&[b"abc"])).await.expect("chunk");
    for range in [4..=5, 0..=2, 2..=3] {
        let outcome = repo.append(id, Some(range), body(&[b"xx"])).await;
        assert!(matches!(outcome, Err(UploadError::OutOfOrder { offset: 3 })), "{outcome:?}");
    }
}

#[tokio::test]
async fn discards_a_chunk_whose_length_differs_from_its_range() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    repo.append(id, Some(0..=2), body(&[b"abc"])).await.expect("chunk");
    for wrong in [&b"de"[..], b"defgh"] {
        let outcome = repo.append(id, Some(3..=5), body(&[wrong])).await;
        assert!(matches!(outcome, Err(UploadError::WrongLength { offset: 3 })), "{outcome:?}");
    }
    repo.finish(id, Some(3..=5), body(&[b"def"]), digest(b"abcdef")).await.expect("blob");
}

#[tokio::test]
async fn keeps_bytes_received_before_the_connection_broke() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    assert!(matches!(repo.append(id, None, broken(b"half")).await, Err(UploadError::Client(_))));
    assert_eq!(repo.upload_offset(id).await.expect("offset"), 4);
    repo.finish(id, None, body(&[b" done"]), digest(b"half done")).await.expect("blob");
}

#[tokio::test]
async fn a_new_request_takes_over_an_upload_and_no_bytes_mix() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let stalled = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (Ok(piece), receiver))
    });
    let first = tokio::spawn({
        let repo = repo.clone();
        async move { repo.append(id, None, stalled.boxed()).await }
    });
    sender.send(Bytes::from_static(b"first")).expect("first is listening");
    tokio::time::sleep(Duration::from_millis(20)).await;
    // The first request stalls with its connection open. The second one asks for the offset and continues.
    let offset = loop {
        match repo.upload_offset(id).await {
            Ok(offset) => break offset,
            Err(UploadError::TakenOver) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert!(matches!(first.await.expect("task"), Err(UploadError::TakenOver)));
    let _ = sender.send(Bytes::from_static(b"too late"));
    let all = [&b"first"[..usize::try_from(offset).expect("small")], b" second"].concat();
    repo.finish(id, None, body(&[b" second"]), digest(&all)).await.expect("blob");
    assert_eq!(read(&repo, &digest(&all)).await.as_deref(), Some(&all[..]));
}

#[tokio::test]
async fn an_upload_resumes_at_its_checkpoint_after_a_restart() {
    let kit = Kit::new();
    let id = kit.repo("a").start_upload(Algorithm::Sha256).await.expect("upload");
    kit.repo("a").append(id, None, body(&[b"before "])).await.expect("chunk");
    kit.registry.checkpoint_uploads(true).await;
    let kit = kit.restarted().await;
    let repo = kit.repo("a");
    assert_eq!(repo.upload_offset(id).await.expect("offset"), 7);
    repo.finish(id, None, body(&[b"after"]), digest(b"before after")).await.expect("blob");
    assert!(read(&repo, &digest(b"before after")).await.is_some());
}

#[tokio::test]
async fn another_repository_cannot_touch_an_upload() {
    let kit = Kit::new();
    let id = kit.repo("a").start_upload(Algorithm::Sha256).await.expect("upload");
    assert!(matches!(kit.repo("b").upload_offset(id).await, Err(UploadError::Unknown)));
    assert!(matches!(kit.repo("b").cancel_upload(id).await, Err(UploadError::Unknown)));
    assert_eq!(kit.repo("a").upload_offset(id).await.expect("still there"), 0);
}

#[tokio::test]
async fn an_upload_started_with_one_algorithm_may_finish_with_another() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    repo.append(id, None, body(&[b"some"])).await.expect("chunk");
    let sha512 = Hasher::digest(Algorithm::Sha512, b"some bytes");
    repo.finish(id, None, body(&[b" bytes"]), sha512.clone()).await.expect("blob");
    assert!(read(&repo, &sha512).await.is_some());
}

#[tokio::test]
async fn an_idle_upload_expires_and_leaves_nothing() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    repo.append(id, None, body(&[b"abandoned"])).await.expect("chunk");
    kit.pass(Duration::from_secs(1001)).await;
    assert!(matches!(repo.append(id, None, body(&[b"x"])).await, Err(UploadError::Unknown)));
    assert!(kit.store.uploads().is_empty());
}

#[tokio::test]
async fn pushing_again_restores_a_lost_blob() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let (_, _, layer) = push_image(&repo, "latest", "layer").await;
    let record = repo.blob(&layer).await.expect("blob");
    assert!(kit.store.lose(&record.key));
    assert!(read(&repo, &layer).await.is_none(), "a lost blob is absent");
    assert!(matches!(repo.blob(&layer).await, Err(BlobError::Unknown)), "and so is its HEAD");
    push(&repo, b"layer").await;
    assert_eq!(read(&repo, &layer).await.as_deref(), Some(&b"layer"[..]));
}

#[tokio::test]
async fn below_min_free_uploads_are_rejected_and_other_requests_work() {
    let kit = Kit::with(|settings| settings.min_free = u64::MAX);
    let repo = kit.repo("a");
    let outcome = repo.start_upload(Algorithm::Sha256).await;
    assert!(matches!(outcome, Err(UploadError::Service(ServiceError::Full(_)))), "{outcome:?}");
    assert!(repo.delete_tag(&"x".parse().expect("tag")).await.is_err());
}

#[tokio::test]
async fn concurrent_uploads_of_one_digest_all_succeed() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let pushes = (0..8).map(|_| {
        let repo = repo.clone();
        tokio::spawn(async move { push(&repo, b"the same").await })
    });
    for push in pushes.collect::<Vec<_>>() {
        push.await.expect("push");
    }
    assert!(read(&repo, &digest(b"the same")).await.is_some());
    kit.pass(Duration::ZERO).await;
    assert_eq!(kit.store.keys().len(), 1, "the older generations are removed");
}

#[tokio::test]
async fn an_idle_upload_expires_sooner_on_a_full_disk() {
    for (min_free, is_kept) in [(0, true), (u64::MAX, false)] {
        let kit = Kit::new();
        let id = kit.repo("a").start_upload(Algorithm::Sha256).await.expect("upload");
        kit.repo("a").append(id, None, body(&[b"too much"])).await.expect("chunk");
        kit.registry.checkpoint_uploads(true).await;
        let kit = kit.restarted_with(|settings| settings.min_free = min_free).await;
        kit.pass(Duration::from_secs(11 * 60)).await;
        let found = kit.repo("a").upload_offset(id).await;
        assert_eq!(found.is_ok(), is_kept, "{min_free}: {found:?}");
    }
}

/// A body whose pieces the test sends. It ends when the sender is dropped.
fn channel_body() -> (UnboundedSender<Result<Bytes, ClientError>>, ClientBody) {
    let (sender, receiver) = unbounded_channel();
    let body = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    (sender, body.boxed())
}

fn user(name: &str) -> Client {
    Client::User(name.into())
}

/// Waits until `bytes` bytes of an upload have arrived. Each check interrupts the request that sends them.
async fn wait_for_bytes(repo: &Repository, id: UploadId, bytes: u64) {
    loop {
        match repo.upload_offset(id).await {
            Ok(offset) if offset == bytes => break,
            Ok(_) | Err(UploadError::TakenOver) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn stalled_uploads_do_not_block_other_pushes() {
    let kit = Kit::with(|settings| settings.parallel_uploads = 4);
    let mut senders = Vec::new();
    let mut stalled = Vec::new();
    for number in 0..40 {
        let repo = kit.repo("slow").for_client(user(["a", "b", "c"][number % 3]));
        let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
        let (sender, body) = channel_body();
        sender.send(Ok(Bytes::from_static(b"some"))).expect("listening");
        senders.push(sender);
        stalled.push(tokio::spawn(async move { repo.append(id, None, body).await }));
    }
    let repo = kit.repo("fast").for_client(user("fast"));
    for content in [&b"one"[..], b"two", b"three"] {
        push(&repo, content).await;
    }
    for sender in senders {
        sender.send(Ok(Bytes::from_static(b" more"))).expect("listening");
    }
    for upload in stalled {
        assert_eq!(upload.await.expect("task").expect("nothing is lost"), 9);
    }
}

#[tokio::test]
async fn an_upload_continues_after_losing_its_turn() {
    let kit = Kit::with(|settings| settings.parallel_uploads = 1);
    let repo = kit.repo("a").for_client(user("slow"));
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    let (sender, body) = channel_body();
    #[expect(clippy::large_stack_arrays, reason = "statics, which are not on the stack")]
    let content = [&[b'x'; 300_000][..], b"y", &[b'z'; 2_000_000]].concat();
    let finish = tokio::spawn({
        let digest = digest(&content);
        let repo = repo.clone();
        async move { repo.finish(id, None, body, digest).await }
    });
    let other = kit.repo("b").for_client(user("other"));
    let mut start = 0;
    for end in [300_000, 300_001, content.len()] {
        sender.send(Ok(Bytes::copy_from_slice(&content[start..end]))).expect("listening");
        start = end;
        push(&other, format!("up to {end}").as_bytes()).await;
    }
    drop(sender);
    finish.await.expect("task").expect("blob");
    assert!(read(&repo, &digest(&content)).await.as_deref() == Some(&content[..]));
}

#[tokio::test]
async fn only_requests_to_its_own_repository_interrupt_an_upload() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    let (sender, fed_body) = channel_body();
    let append = tokio::spawn({
        let repo = repo.clone();
        async move { repo.append(id, None, fed_body).await }
    });
    sender.send(Ok(Bytes::from_static(b"first"))).expect("listening");
    for _ in 0..3 {
        assert!(matches!(kit.repo("b").upload_offset(id).await, Err(UploadError::Unknown)));
        assert!(matches!(kit.repo("b").append(id, None, body(&[b"x"])).await, Err(UploadError::Unknown)));
        assert!(matches!(kit.repo("b").cancel_upload(id).await, Err(UploadError::Unknown)));
        tokio::task::yield_now().await;
    }
    sender.send(Ok(Bytes::from_static(b" second"))).expect("listening");
    drop(sender);
    assert_eq!(append.await.expect("task").expect("not interrupted"), 12);
    wait_for_bytes(&repo, id, 12).await;
}

/// With hundreds of open uploads, an upload that loses its turn closes its file and still continues.
#[tokio::test]
async fn many_open_uploads_take_turns_with_their_files_closed() {
    let kit = Kit::with(|settings| settings.parallel_uploads = 2);
    let repo = kit.repo("a").for_client(user("many"));
    let mut uploads = Vec::new();
    for number in 0..300 {
        let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
        let (sender, body) = channel_body();
        sender.send(Ok(Bytes::from(format!("upload {number}, ")))).expect("listening");
        let content = format!("upload {number}, continued");
        let upload = tokio::spawn({
            let repo = repo.clone();
            async move { repo.finish(id, None, body, digest(content.as_bytes())).await }
        });
        uploads.push((sender, upload));
    }
    push(&kit.repo("b").for_client(user("other")), b"meanwhile").await;
    for (sender, _) in &uploads {
        sender.send(Ok(Bytes::from_static(b"continued"))).expect("listening");
    }
    for (sender, upload) in uploads {
        drop(sender);
        upload.await.expect("task").expect("blob");
    }
}

#[tokio::test]
async fn an_empty_blob_needs_no_turn() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    push(&repo, b"").await;
    assert_eq!(read(&repo, &digest(b"")).await.as_deref(), Some(&b""[..]));
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    let sha512 = Hasher::digest(Algorithm::Sha512, b"");
    repo.finish(id, None, body(&[]), sha512.clone()).await.expect("blob");
    assert_eq!(read(&repo, &sha512).await.as_deref(), Some(&b""[..]));
}
