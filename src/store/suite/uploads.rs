//! Scenarios of writing staged bytes.

use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;

use super::{Fixture, collect, expect_closed, key_of, pattern, read, stage};
use crate::oci::UploadId;
use crate::store::{StagedBytes, StoreError};

/// A write takes thousands of pieces, including empty ones.
pub async fn many_pieces_are_written_in_order(fixture: &dyn Fixture) {
    let store = fixture.open();
    let content = pattern(300_000, 2);
    let key = key_of(&content);
    let upload = UploadId::random();
    let mut pieces: Vec<Bytes> = content.chunks(97).map(Bytes::copy_from_slice).collect();
    pieces.insert(0, Bytes::new());
    pieces.insert(1500, Bytes::new());
    let staged = store.stage(upload, 0).await.expect("staged");
    staged.write_at(0, pieces).await.expect("written");
    staged.write_at(300_000, vec![Bytes::new()]).await.expect("nothing written");
    store.publish(upload, &key).await.expect("published");
    assert!(read(&*store, &key, 300_000, 0..300_000).await.expect("read") == content);
}

/// A new process finds the synced bytes and truncates what came after them.
pub async fn an_upload_is_resumed_and_truncated(fixture: &dyn Fixture) {
    let upload = UploadId::random();
    let staged = stage(&*fixture.open(), upload, b"hello, w").await;
    staged.sync().await.expect("synced");
    staged.write_at(8, vec![Bytes::from_static(b"rong end")]).await.expect("written");
    drop(staged);
    let store = fixture.open();
    let staged = store.stage(upload, 8).await.expect("resumed");
    staged.write_at(8, vec![Bytes::from_static(b"orld")]).await.expect("written");
    let key = key_of(b"hello, world");
    store.publish(upload, &key).await.expect("published");
    assert_eq!(read(&*store, &key, 12, 0..12).await.expect("read"), b"hello, world");
}

/// A length of zero discards earlier bytes.
pub async fn staging_at_zero_discards_earlier_bytes(fixture: &dyn Fixture) {
    let store = fixture.open();
    let upload = UploadId::random();
    stage(&*store, upload, b"a long beginning").await;
    stage(&*store, upload, b"short").await;
    let key = key_of(b"short");
    store.publish(upload, &key).await.expect("published");
    assert_eq!(read(&*store, &key, 5, 0..5).await.expect("read"), b"short");
}

/// Staging fails if there are fewer bytes than recorded.
pub async fn too_few_staged_bytes_are_damaged(fixture: &dyn Fixture) {
    let store = fixture.open();
    let upload = UploadId::random();
    assert!(matches!(store.stage(upload, 1).await.err(), Some(StoreError::Damaged(_))));
    stage(&*store, upload, b"hello").await;
    assert!(matches!(store.stage(upload, 6).await.err(), Some(StoreError::Damaged(_))));
    assert!(store.stage(upload, 5).await.is_ok());
}

/// The owner can read staged bytes.
pub async fn staged_bytes_are_read_back(fixture: &dyn Fixture) {
    let store = fixture.open();
    let content = pattern(600_000, 3);
    let staged = stage(&*store, UploadId::random(), &content).await;
    let stream = staged.read(100..600_000).await.expect("opened");
    assert!(collect(stream).await.expect("read") == content[100..]);
}

/// Discarding is final, and can be repeated.
pub async fn a_discarded_upload_has_no_bytes(fixture: &dyn Fixture) {
    let store = fixture.open();
    let upload = UploadId::random();
    let staged = stage(&*store, upload, b"hello").await;
    store.discard(upload).await.expect("discarded");
    store.discard(upload).await.expect("discarded before");
    expect_closed(staged.sync().await);
    assert!(matches!(store.stage(upload, 5).await.err(), Some(StoreError::Damaged(_))));
    assert!(matches!(store.publish(upload, &key_of(b"hello")).await, Err(StoreError::NotFound)));
}

/// Only the newest owner of an upload can write.
pub async fn a_new_owner_closes_older_handles(fixture: &dyn Fixture) {
    let store = fixture.open();
    let upload = UploadId::random();
    let old = stage(&*store, upload, b"hello").await;
    let new = store.stage(upload, 5).await.expect("staged again");
    expect_closed(old.write_at(0, vec![Bytes::from_static(b"J")]).await);
    expect_closed(old.sync().await);
    expect_closed(old.read(0..5).await.map(drop));
    assert_eq!(collect(new.read(0..5).await.expect("opened")).await.expect("read"), b"hello");
}

/// Starts a write and drops its future.
fn abandon_write(staged: &Arc<dyn StagedBytes>, content: &[u8]) {
    let mut write = staged.write_at(0, vec![Bytes::copy_from_slice(content)]);
    let _ = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

/// A write whose caller is gone does not overwrite the bytes of the next call.
pub async fn a_dropped_write_ends_before_the_next_call(fixture: &dyn Fixture) {
    let store = fixture.open();
    let lost = pattern(1_000_000, 5);
    let kept = pattern(1_000_000, 6);
    for _ in 0..5 {
        let upload = UploadId::random();
        let key = key_of(&kept);
        let staged = store.stage(upload, 0).await.expect("staged");
        abandon_write(&staged, &lost);
        staged.write_at(0, vec![Bytes::copy_from_slice(&kept)]).await.expect("written");
        store.publish(upload, &key).await.expect("published");
        assert!(read(&*store, &key, 1_000_000, 0..1_000_000).await.expect("read") == kept, "mixed bytes");
    }
}

/// A write whose caller is gone does not overwrite the bytes of another owner.
pub async fn a_dropped_write_ends_before_a_new_owner_starts(fixture: &dyn Fixture) {
    let store = fixture.open();
    let lost = pattern(1_000_000, 5);
    for _ in 0..5 {
        let upload = UploadId::random();
        let key = key_of(b"hello");
        let staged = store.stage(upload, 0).await.expect("staged");
        abandon_write(&staged, &lost);
        drop(staged);
        stage(&*store, upload, b"hello").await;
        store.publish(upload, &key).await.expect("published");
        assert_eq!(read(&*store, &key, 5, 0..5).await.expect("read"), b"hello");
    }
}
