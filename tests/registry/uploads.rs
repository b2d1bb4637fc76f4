//! Uploads: one owner, exact offsets, durable ends.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use orlop::fair::Client;
use orlop::oci::{Algorithm, Hasher, UploadId};
use orlop::registry::{BlobError, ClientBody, ClientError, Repository, ServiceError, UploadError};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::kit::*;

#[tokio::test]
async fn a_blob_comes_in_pieces_and_goes_out_whole() {
    let kit = Kit::new();
    let repo = kit.repo("a/b");
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    assert_eq!(repo.append(id, None, body(&[b"hello", b", "])).await.expect("first"), 7);
    assert_eq!(repo.append(id, Some(7..=11), body(&[b"world"])).await.expect("second"), 12);
    repo.finish(id, None, body(&[]), digest(b"hello, world")).await.expect("blob");
    assert_eq!(read(&repo, &digest(b"hello, world")).await.as_deref(), Some(&b"hello, world"[..]));
    assert!(matches!(repo.upload_offset(id).await, Err(UploadError::Unknown)));
}

#[tokio::test]
async fn a_blob_is_not_seen_from_another_repository() {
    let kit = Kit::new();
    let blob = push(&kit.repo("a"), b"secret").await;
    assert!(matches!(kit.repo("b").blob(&blob).await, Err(BlobError::Unknown)));
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    let outcome = repo.finish(id, None, body(&[b"what came"]), digest(b"what was said")).await;
    assert!(matches!(outcome, Err(UploadError::WrongDigest { .. })));
    assert!(matches!(repo.upload_offset(id).await, Err(UploadError::Unknown)));
    assert!(kit.bytes.keys().is_empty() && kit.bytes.uploads().is_empty());
}

#[tokio::test]
async fn a_gap_is_refused_and_tells_the_offset() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    repo.append(id, Some(0..=2), body(&[b"abc"])).await.expect("chunk");
    for range in [4..=5, 0..=2, 2..=3] {
        let outcome = repo.append(id, Some(range), body(&[b"xx"])).await;
        assert!(matches!(outcome, Err(UploadError::OutOfOrder { offset: 3 })), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_chunk_of_another_length_than_it_said_is_as_if_it_never_came() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    repo.append(id, Some(0..=2), body(&[b"abc"])).await.expect("chunk");
    for wrong in [&b"de"[..], b"defgh"] {
        let outcome = repo.append(id, Some(3..=5), body(&[wrong])).await;
        assert!(matches!(outcome, Err(UploadError::WrongLength { offset: 3 })), "{outcome:?}");
    }
    repo.finish(id, Some(3..=5), body(&[b"def"]), digest(b"abcdef")).await.expect("blob");
}

#[tokio::test]
async fn what_came_before_the_connection_broke_stays() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    assert!(matches!(repo.append(id, None, broken(b"half")).await, Err(UploadError::Client(_))));
    assert_eq!(repo.upload_offset(id).await.expect("offset"), 4);
    repo.finish(id, None, body(&[b" done"]), digest(b"half done")).await.expect("blob");
}

#[tokio::test]
async fn a_newcomer_takes_an_upload_over_and_no_bytes_mix() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
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
    // The first stalls with its connection open; the second asks where the upload stands and goes on.
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
async fn an_upload_survives_a_restart_where_it_was_settled() {
    let kit = Kit::new();
    let id = kit.repo("a").begin_upload(Algorithm::Sha256).await.expect("upload");
    kit.repo("a").append(id, None, body(&[b"before "])).await.expect("chunk");
    kit.registry.settle_uploads(true).await;
    let kit = kit.restarted().await;
    let repo = kit.repo("a");
    assert_eq!(repo.upload_offset(id).await.expect("offset"), 7);
    repo.finish(id, None, body(&[b"after"]), digest(b"before after")).await.expect("blob");
    assert!(read(&repo, &digest(b"before after")).await.is_some());
}

#[tokio::test]
async fn another_repository_cannot_touch_an_upload() {
    let kit = Kit::new();
    let id = kit.repo("a").begin_upload(Algorithm::Sha256).await.expect("upload");
    assert!(matches!(kit.repo("b").upload_offset(id).await, Err(UploadError::Unknown)));
    assert!(matches!(kit.repo("b").cancel_upload(id).await, Err(UploadError::Unknown)));
    assert_eq!(kit.repo("a").upload_offset(id).await.expect("still there"), 0);
}

#[tokio::test]
async fn an_upload_begun_with_one_algorithm_may_end_with_the_other() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    repo.append(id, None, body(&[b"some"])).await.expect("chunk");
    let sha512 = Hasher::digest(Algorithm::Sha512, b"some bytes");
    repo.finish(id, None, body(&[b" bytes"]), sha512.clone()).await.expect("blob");
    assert!(read(&repo, &sha512).await.is_some());
}

#[tokio::test]
async fn an_idle_upload_expires_and_leaves_nothing() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    repo.append(id, None, body(&[b"abandoned"])).await.expect("chunk");
    kit.pass(Duration::from_secs(1001)).await;
    assert!(matches!(repo.append(id, None, body(&[b"x"])).await, Err(UploadError::Unknown)));
    assert!(kit.bytes.uploads().is_empty());
}

#[tokio::test]
async fn a_repeated_push_heals_a_damaged_blob() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let (_, _, layer) = push_image(&repo, "latest", "layer").await;
    let record = repo.blob(&layer).await.expect("blob");
    assert!(kit.bytes.lose(&record.key));
    assert!(read(&repo, &layer).await.is_none(), "a lost blob is absent");
    assert!(matches!(repo.blob(&layer).await, Err(BlobError::Unknown)), "and so is its HEAD");
    push(&repo, b"layer").await;
    assert_eq!(read(&repo, &layer).await.as_deref(), Some(&b"layer"[..]));
}

#[tokio::test]
async fn below_the_floor_bodies_are_refused_and_the_rest_goes_on() {
    let kit = Kit::with(|settings| settings.min_free = u64::MAX);
    let repo = kit.repo("a");
    let refused = repo.begin_upload(Algorithm::Sha256).await;
    assert!(matches!(refused, Err(UploadError::Service(ServiceError::Full(_)))), "{refused:?}");
    assert!(repo.delete_tag(&"x".parse().expect("tag")).await.is_err());
}

#[tokio::test]
async fn two_uploads_of_one_digest_at_once_both_succeed() {
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
    assert_eq!(kit.bytes.keys().len(), 1, "the older generations are gone");
}

#[tokio::test]
async fn a_full_disk_waits_less_long_for_an_idle_upload() {
    for (min_free, left) in [(0, true), (u64::MAX, false)] {
        let kit = Kit::new();
        let id = kit.repo("a").begin_upload(Algorithm::Sha256).await.expect("upload");
        kit.repo("a").append(id, None, body(&[b"too much"])).await.expect("chunk");
        kit.registry.settle_uploads(true).await;
        let kit = kit.restarted_with(|settings| settings.min_free = min_free).await;
        kit.pass(Duration::from_secs(11 * 60)).await;
        let found = kit.repo("a").upload_offset(id).await;
        assert_eq!(found.is_ok(), left, "{min_free}: {found:?}");
    }
}

/// A body whose pieces the test sends; it ends when the sender is dropped.
fn fed() -> (UnboundedSender<Result<Bytes, ClientError>>, ClientBody) {
    let (sender, receiver) = unbounded_channel();
    let body = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    (sender, body.boxed())
}

fn user(name: &str) -> Client {
    Client::User(name.into())
}

/// Waits until an upload's first bytes have arrived, which interrupts whoever sends them.
async fn arrived(repo: &Repository, id: UploadId, bytes: u64) {
    loop {
        match repo.upload_offset(id).await {
            Ok(offset) if offset == bytes => break,
            Ok(_) | Err(UploadError::TakenOver) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn silent_uploads_do_not_stop_other_pushes() {
    let kit = Kit::with(|settings| settings.parallel_uploads = 4);
    let mut senders = Vec::new();
    let mut stalled = Vec::new();
    for number in 0..40 {
        let repo = kit.repo("slow").for_client(user(["a", "b", "c"][number % 3]));
        let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
        let (sender, body) = fed();
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
async fn an_upload_goes_on_after_it_has_lost_its_turn() {
    let kit = Kit::with(|settings| settings.parallel_uploads = 1);
    let repo = kit.repo("a").for_client(user("slow"));
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    let (sender, body) = fed();
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
async fn only_its_own_repository_interrupts_an_upload() {
    let kit = Kit::new();
    let repo = kit.repo("a");
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    let (sender, fed) = fed();
    let append = tokio::spawn({
        let repo = repo.clone();
        async move { repo.append(id, None, fed).await }
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
    arrived(&repo, id, 12).await;
}

/// With hundreds of uploads open, those that lose their turn close their files, and still go on.
#[tokio::test]
async fn many_open_uploads_take_turns_with_their_files_closed() {
    let kit = Kit::with(|settings| settings.parallel_uploads = 2);
    let repo = kit.repo("a").for_client(user("many"));
    let mut uploads = Vec::new();
    for number in 0..300 {
        let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
        let (sender, body) = fed();
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
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    let sha512 = Hasher::digest(Algorithm::Sha512, b"");
    repo.finish(id, None, body(&[]), sha512.clone()).await.expect("blob");
    assert_eq!(read(&repo, &sha512).await.as_deref(), Some(&b""[..]));
}
