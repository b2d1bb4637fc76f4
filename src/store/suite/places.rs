//! Scenarios of publishing, undoing a publish, and removing.

use bytes::Bytes;

use super::{Fixture, collect, expect_closed, key_of, pattern, publish, read, stage};
use crate::oci::UploadId;
use crate::store::{StoreError, StoredItem};

/// A blob may be empty.
pub async fn an_empty_blob_is_published(fixture: &dyn Fixture) {
    let store = fixture.open();
    let key = key_of(b"");
    let upload = UploadId::random();
    store.stage(upload, 0).await.expect("staged");
    store.publish(upload, &key).await.expect("published");
    assert_eq!(read(&*store, &key, 0, 0..0).await.expect("read"), b"");
}

/// Publishing fails if nothing is staged, and the second time.
pub async fn a_publish_without_staged_bytes_is_not_found(fixture: &dyn Fixture) {
    let store = fixture.open();
    let upload = UploadId::random();
    let key = key_of(b"hello");
    assert!(matches!(store.publish(upload, &key).await, Err(StoreError::NotFound)));
    stage(&*store, upload, b"hello").await;
    store.publish(upload, &key).await.expect("published");
    assert!(matches!(store.publish(upload, &key).await, Err(StoreError::NotFound)));
    assert_eq!(read(&*store, &key, 5, 0..5).await.expect("read"), b"hello");
}

/// Publishing to an existing blob fails, and both the blob and the staged bytes stay unchanged.
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

/// After a publish is undone, the upload can be resumed.
pub async fn an_unpublish_restores_the_staged_bytes(fixture: &dyn Fixture) {
    let store = fixture.open();
    let upload = UploadId::random();
    let key = key_of(b"hello");
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

/// Undoing a publish that never happened changes nothing.
pub async fn an_unpublish_of_nothing_returns_false(fixture: &dyn Fixture) {
    let store = fixture.open();
    let upload = UploadId::random();
    let key = key_of(b"hello");
    stage(&*store, upload, b"hello").await;
    assert!(!store.unpublish(upload, &key).await.expect("nothing to undo"));
    store.stage(upload, 5).await.expect("as it was");
}

/// No handle can write to a published blob.
pub async fn a_published_blob_cannot_be_written(fixture: &dyn Fixture) {
    let store = fixture.open();
    let upload = UploadId::random();
    let key = key_of(b"hello");
    let staged = stage(&*store, upload, b"hello").await;
    store.publish(upload, &key).await.expect("published");
    expect_closed(staged.write_at(0, vec![Bytes::from_static(b"J")]).await);
    assert_eq!(read(&*store, &key, 5, 0..5).await.expect("read"), b"hello");
}

/// Removing is final, and can be repeated.
pub async fn a_removed_blob_is_not_found(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (key, size) = publish(&*store, b"hello").await;
    store.remove(&key).await.expect("removed");
    store.remove(&key).await.expect("removed before");
    assert!(matches!(read(&*store, &key, size, 0..size).await, Err(StoreError::NotFound)));
}

/// Two uploads of one digest do not affect each other.
pub async fn generations_are_independent(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (one, size) = publish(&*store, b"hello").await;
    let (other, _) = publish(&*store, b"hello").await;
    assert_eq!(one.digest, other.digest);
    store.remove(&one).await.expect("removed");
    assert!(matches!(read(&*store, &one, size, 0..size).await, Err(StoreError::NotFound)));
    assert_eq!(read(&*store, &other, size, 0..size).await.expect("read"), b"hello");
}

/// The disk usage of a blob is returned by publishing and later. Removed bytes use nothing.
pub async fn disk_usage_is_measured(fixture: &dyn Fixture) {
    let store = fixture.open();
    let upload = UploadId::random();
    let content = pattern(100_000, 1);
    let key = key_of(&content);
    assert_eq!(store.allocated(StoredItem::Upload(upload)).await.expect("measured"), 0);
    stage(&*store, upload, &content).await.sync().await.expect("synced");
    assert!(store.allocated(StoredItem::Upload(upload)).await.expect("measured") >= 100_000);
    let allocated = store.publish(upload, &key).await.expect("published");
    assert!((100_000..1_000_000).contains(&allocated), "{allocated}");
    assert_eq!(store.allocated(StoredItem::Blob(&key)).await.expect("measured"), allocated);
    assert_eq!(store.allocated(StoredItem::Upload(upload)).await.expect("measured"), 0);
    store.allocated(StoredItem::Directories).await.expect("measured");
    store.remove(&key).await.expect("removed");
    assert!(matches!(store.allocated(StoredItem::Blob(&key)).await, Err(StoreError::NotFound)));
}
