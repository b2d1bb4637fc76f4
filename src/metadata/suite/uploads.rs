//! Open uploads.

use super::scene::{DAY, SIZE};
use super::*;
use crate::metadata::{Progress, UploadEnd, UploadRecord, UploadStatus};
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

/// A new upload has no bytes and belongs to one repository.
pub async fn a_new_upload_is_found_in_its_repository(s: &Scene) {
    let id = s.start_upload("app", 1).await;
    let upload = found(s, "app", id).await.expect("the upload");
    assert_eq!(upload.algorithm, Algorithm::Sha256);
    assert_eq!(upload.progress, Progress { offset: 0, hash_state: Vec::new() });
    assert_eq!((upload.intent, upload.touched_at), (None, at(1)));
    assert_eq!(found(s, "other", id).await, None);
    assert!(s.store.repository_exists(&repo("app")).await.expect("an answer"));
}

/// A restart continues from the last recorded progress.
pub async fn progress_is_recorded(s: &Scene) {
    let id = s.start_upload("app", 1).await;
    assert!(s.store.record_progress(id, bytes(7), at(2)).await.expect("recorded"));
    let upload = found(s, "app", id).await.expect("the upload");
    assert_eq!((upload.progress, upload.touched_at), (bytes(7), at(2)));
    let status = s.store.upload_status(id).await.expect("an answer");
    assert_eq!(status, Some(UploadStatus { repo: repo("app"), offset: 7 }));
    assert!(!s.store.record_progress(UploadId::random(), bytes(7), at(2)).await.expect("an answer"));
}

/// An intent is listed until it is removed; the upload stays.
pub async fn an_intent_is_listed_until_it_is_forgotten(s: &Scene) {
    let id = s.start_upload("app", 1).await;
    let key = key("layer");
    assert!(s.store.record_intent(id, &key).await.expect("recorded"));
    assert_eq!(s.store.intended_uploads().await.expect("listed"), [(id, key.clone())]);
    assert_eq!(found(s, "app", id).await.and_then(|upload| upload.intent), Some(key));
    s.store.forget_intent(id).await.expect("removed");
    assert_eq!(s.store.intended_uploads().await.expect("listed"), []);
    assert!(found(s, "app", id).await.is_some());
}

/// Content may exist under any recorded intent, so a replaced intent is not just dropped.
pub async fn replaced_intent_becomes_a_pending_deletion(s: &Scene) {
    let id = s.start_upload("app", 1).await;
    let first = key("layer");
    let second = key("layer");
    assert!(s.store.record_intent(id, &first).await.expect("recorded"));
    assert!(s.store.record_intent(id, &first).await.expect("recorded"));
    assert_eq!(s.pending_deletions().await, []);
    assert!(s.store.record_intent(id, &second).await.expect("recorded"));
    assert_eq!(s.pending_deletions().await, [first]);
}

/// A commit creates the blob and ends the upload.
pub async fn a_commit_consumes_the_upload_once(s: &Scene) {
    let id = s.start_upload("app", 1).await;
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

/// An upload is cancelled or committed, whichever comes first.
pub async fn a_cancelled_upload_cannot_be_committed(s: &Scene) {
    let before = s.push("app", "layer", 0).await;
    let id = s.start_upload("app", 1).await;
    assert!(s.cancel(id, 2).await);
    assert!(!s.cancel(id, 2).await);
    let (_, committed) = s.commit(id, "layer", 3).await;
    assert!(!committed);
    assert_eq!(s.blob("app", "layer").await.map(|blob| (blob.key, blob.leased_at)), Some((before, at(0))));
    assert_eq!(s.pending_deletions().await, []);
    assert!(!s.store.record_intent(id, &key("layer")).await.expect("an answer"));
}

/// Content may exist under the intent of a cancelled upload.
pub async fn cancelled_intent_becomes_a_pending_deletion(s: &Scene) {
    let id = s.start_upload("app", 1).await;
    let key = key("layer");
    assert!(s.store.record_progress(id, bytes(9), at(1)).await.expect("recorded"));
    assert!(s.store.record_intent(id, &key).await.expect("recorded"));
    assert!(s.cancel(id, 2).await);
    assert_eq!(s.store.pending_deletions(10).await.expect("listed"), [(key, 9)]);
}

/// Only inactive uploads are idle, also between listing and cancelling them.
pub async fn idle_upload_is_cancelled_unless_active(s: &Scene) {
    let idle = s.start_upload("app", 1).await;
    let active = s.start_upload("app", 1).await;
    let fresh = s.start_upload("app", 9).await;
    let mut listed = s.store.idle_uploads(at(1), 10).await.expect("listed");
    listed.sort();
    let mut expected = [idle, active];
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(s.store.idle_uploads(at(1), 1).await.expect("listed").len(), 1);
    assert!(s.store.record_progress(active, bytes(1), at(5)).await.expect("recorded"));
    let end = UploadEnd { now: at(9), lease: DAY, min_lease: DAY };
    assert!(s.store.cancel_upload(idle, Some(at(1)), end).await.expect("an answer"));
    assert!(!s.store.cancel_upload(active, Some(at(1)), end).await.expect("an answer"));
    assert!(!s.store.cancel_upload(fresh, Some(at(1)), end).await.expect("an answer"));
    assert!(found(s, "app", active).await.is_some());
}
