//! Uploads in progress.

use super::scene::{DAY, SIZE};
use super::*;
use crate::metadata::{Progress, UploadEnd, UploadRecord};
use crate::oci::{Algorithm, BlobKey, Generation, UploadId};

async fn found(s: &Scene, of: &str, id: UploadId) -> Option<UploadRecord> {
    s.store.upload(&repo(of), id).await.expect("an answer")
}

fn key(name: &str) -> BlobKey {
    BlobKey { digest: digest(name), generation: Generation::random() }
}

fn bytes(offset: u64) -> Progress {
    Progress { offset, hash_state: vec![1, 2, 3] }
}

/// A new upload has no bytes, and belongs to its repository alone.
pub async fn a_new_upload_is_found_in_its_repository(s: &Scene) {
    let id = s.begin("app", 1).await;
    let upload = found(s, "app", id).await.expect("the upload");
    assert_eq!(upload.algorithm, Algorithm::Sha256);
    assert_eq!(upload.progress, Progress { offset: 0, hash_state: Vec::new() });
    assert_eq!((upload.intent, upload.touched_at), (None, at(1)));
    assert_eq!(found(s, "other", id).await, None);
    assert!(s.store.repository_exists(&repo("app")).await.expect("an answer"));
}

/// What was noted last is what a restart goes on from.
pub async fn progress_is_noted(s: &Scene) {
    let id = s.begin("app", 1).await;
    assert!(s.store.note_progress(id, bytes(7), at(2)).await.expect("noted"));
    let upload = found(s, "app", id).await.expect("the upload");
    assert_eq!((upload.progress, upload.touched_at), (bytes(7), at(2)));
    assert!(!s.store.note_progress(UploadId::random(), bytes(7), at(2)).await.expect("an answer"));
}

/// An intent is listed until it is forgotten, and the upload stays.
pub async fn an_intent_is_listed_until_it_is_forgotten(s: &Scene) {
    let (id, key) = (s.begin("app", 1).await, key("layer"));
    assert!(s.store.intend(id, &key).await.expect("intended"));
    assert_eq!(s.store.intended_uploads().await.expect("listed"), [(id, key.clone())]);
    assert_eq!(found(s, "app", id).await.and_then(|upload| upload.intent), Some(key));
    s.store.forget_intent(id).await.expect("forgotten");
    assert_eq!(s.store.intended_uploads().await.expect("listed"), []);
    assert!(found(s, "app", id).await.is_some());
}

/// Whatever an intent names may have bytes: one that is replaced is not forgotten.
pub async fn an_intent_that_is_replaced_is_doomed(s: &Scene) {
    let (id, first, second) = (s.begin("app", 1).await, key("layer"), key("layer"));
    assert!(s.store.intend(id, &first).await.expect("intended"));
    assert!(s.store.intend(id, &first).await.expect("intended"));
    assert_eq!(s.doomed().await, []);
    assert!(s.store.intend(id, &second).await.expect("intended"));
    assert_eq!(s.doomed().await, [first]);
}

/// A commit makes the blob, and there is nothing left to commit.
pub async fn a_commit_consumes_the_upload_once(s: &Scene) {
    let id = s.begin("app", 1).await;
    let (key, committed) = s.commit(id, "layer", 2).await;
    assert!(committed);
    let blob = s.blob("app", "layer").await.expect("the blob");
    assert_eq!((blob.key, blob.size, blob.leased_at), (key, SIZE, at(2)));
    assert_eq!(found(s, "app", id).await, None);
    assert_eq!(s.store.intended_uploads().await.expect("listed"), []);
    let (_, again) = s.commit(id, "other", 3).await;
    assert!(!again);
    assert!(!s.is_stored("other").await);
}

/// Whoever cancels first wins.
pub async fn a_cancelled_upload_cannot_be_committed(s: &Scene) {
    let before = s.push("app", "layer", 0).await;
    let id = s.begin("app", 1).await;
    assert!(s.cancel(id, 2).await);
    assert!(!s.cancel(id, 2).await);
    let (_, committed) = s.commit(id, "layer", 3).await;
    assert!(!committed);
    assert_eq!(s.blob("app", "layer").await.map(|blob| (blob.key, blob.leased_at)), Some((before, at(0))));
    assert_eq!(s.doomed().await, []);
    assert!(!s.store.intend(id, &key("layer")).await.expect("an answer"));
}

/// Bytes may have reached the place that a cancelled upload intended.
pub async fn a_cancelled_intent_is_doomed(s: &Scene) {
    let (id, key) = (s.begin("app", 1).await, key("layer"));
    assert!(s.store.note_progress(id, bytes(9), at(1)).await.expect("noted"));
    assert!(s.store.intend(id, &key).await.expect("intended"));
    assert!(s.cancel(id, 2).await);
    assert_eq!(s.store.doomed(10).await.expect("listed"), [(key, 9)]);
}

/// Only what nobody touches is idle, also between the look and the cancellation.
pub async fn an_idle_upload_is_cancelled_unless_it_was_touched(s: &Scene) {
    let (idle, touched) = (s.begin("app", 1).await, s.begin("app", 1).await);
    let fresh = s.begin("app", 9).await;
    let mut listed = s.store.idle_uploads(at(1), 10).await.expect("listed");
    listed.sort();
    let mut expected = [idle, touched];
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(s.store.idle_uploads(at(1), 1).await.expect("listed").len(), 1);
    assert!(s.store.note_progress(touched, bytes(1), at(5)).await.expect("noted"));
    let end = UploadEnd { now: at(9), lease: DAY, shortest: DAY };
    assert!(s.store.cancel_upload(idle, Some(at(1)), end).await.expect("an answer"));
    assert!(!s.store.cancel_upload(touched, Some(at(1)), end).await.expect("an answer"));
    assert!(!s.store.cancel_upload(fresh, Some(at(1)), end).await.expect("an answer"));
    assert!(found(s, "app", touched).await.is_some());
}
