//! Scenarios of publishing, undoing it, and removing.

use bytes::Bytes;

use super::{Fixture, collect, expect_closed, key_of, pattern, publish, read, stage};
use crate::oci::UploadId;
use crate::store::{Spent, StoreError};

/// Zero bytes are a blob as any other.
pub async fn nothing_is_a_blob_too(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (key, upload) = (key_of(b""), UploadId::random());
    store.stage(upload, 0).await.expect("staged");
    store.publish(upload, &key).await.expect("published");
    assert_eq!(read(&*store, &key, 0, 0..0).await.expect("read"), b"");
}

/// There is nothing to publish where nothing is staged, nor a second time.
pub async fn a_publish_without_staged_bytes_finds_nothing(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (upload, key) = (UploadId::random(), key_of(b"hello"));
    assert!(matches!(store.publish(upload, &key).await, Err(StoreError::NotFound)));
    stage(&*store, upload, b"hello").await;
    store.publish(upload, &key).await.expect("published");
    assert!(matches!(store.publish(upload, &key).await, Err(StoreError::NotFound)));
    assert_eq!(read(&*store, &key, 5, 0..5).await.expect("read"), b"hello");
}

/// A place that is taken stays as it is, and so do the staged bytes that wanted it.
pub async fn a_publish_never_replaces(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (key, _) = publish(&*store, b"first").await;
    let upload = UploadId::random();
    stage(&*store, upload, b"other").await;
    assert!(matches!(store.publish(upload, &key).await, Err(StoreError::Io(_))));
    assert!(store.unpublish(upload, &key).await.is_err());
    assert_eq!(read(&*store, &key, 5, 0..5).await.expect("read"), b"first");
    let own = key_of(b"other");
    store.publish(upload, &own).await.expect("published elsewhere");
    assert_eq!(read(&*store, &own, 5, 0..5).await.expect("read"), b"other");
}

/// Undone, a publish leaves the upload as it was, ready to be resumed.
pub async fn an_unpublish_gives_the_bytes_back(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (upload, key) = (UploadId::random(), key_of(b"hello"));
    stage(&*store, upload, b"hello").await;
    store.publish(upload, &key).await.expect("published");
    let store = fixture.open();
    assert!(store.unpublish(upload, &key).await.expect("undone"));
    assert!(matches!(read(&*store, &key, 5, 0..5).await, Err(StoreError::NotFound)));
    let staged = store.stage(upload, 5).await.expect("resumed");
    assert_eq!(collect(staged.read(0..5).await.expect("opened")).await.expect("read"), b"hello");
    store.publish(upload, &key).await.expect("published again");
    assert_eq!(read(&*store, &key, 5, 0..5).await.expect("read"), b"hello");
}

/// Undoing what never was done changes nothing.
pub async fn an_unpublish_of_nothing_says_so(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (upload, key) = (UploadId::random(), key_of(b"hello"));
    stage(&*store, upload, b"hello").await;
    assert!(!store.unpublish(upload, &key).await.expect("nothing to undo"));
    store.stage(upload, 5).await.expect("as it was");
}

/// No handle reaches into a published blob.
pub async fn a_published_blob_cannot_be_written(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (upload, key) = (UploadId::random(), key_of(b"hello"));
    let staged = stage(&*store, upload, b"hello").await;
    store.publish(upload, &key).await.expect("published");
    expect_closed(staged.write_at(0, vec![Bytes::from_static(b"J")]).await);
    assert_eq!(read(&*store, &key, 5, 0..5).await.expect("read"), b"hello");
}

/// Removing is final, and harmless the second time.
pub async fn what_is_removed_is_gone(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (key, size) = publish(&*store, b"hello").await;
    store.remove(&key).await.expect("removed");
    store.remove(&key).await.expect("removed before");
    assert!(matches!(read(&*store, &key, size, 0..size).await, Err(StoreError::NotFound)));
}

/// Two uploads of one digest do not touch each other.
pub async fn generations_are_apart(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (one, size) = publish(&*store, b"hello").await;
    let (other, _) = publish(&*store, b"hello").await;
    assert_eq!(one.digest, other.digest);
    store.remove(&one).await.expect("removed");
    assert!(matches!(read(&*store, &one, size, 0..size).await, Err(StoreError::NotFound)));
    assert_eq!(read(&*store, &other, size, 0..size).await.expect("read"), b"hello");
}

/// What the medium spends on a blob is told when it is published, and later; what is gone takes nothing.
pub async fn what_is_spent_is_told(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (upload, content) = (UploadId::random(), pattern(100_000, 1));
    let key = key_of(&content);
    assert_eq!(store.allocated(Spent::Upload(upload)).await.expect("told"), 0);
    stage(&*store, upload, &content).await.sync().await.expect("synced");
    assert!(store.allocated(Spent::Upload(upload)).await.expect("told") >= 100_000);
    let allocated = store.publish(upload, &key).await.expect("published");
    assert!((100_000..1_000_000).contains(&allocated), "{allocated}");
    assert_eq!(store.allocated(Spent::Blob(&key)).await.expect("told"), allocated);
    assert_eq!(store.allocated(Spent::Upload(upload)).await.expect("told"), 0);
    store.allocated(Spent::Directories).await.expect("told");
    store.remove(&key).await.expect("removed");
    assert!(matches!(store.allocated(Spent::Blob(&key)).await, Err(StoreError::NotFound)));
}
