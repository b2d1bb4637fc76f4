//! Tests of power cuts. The scenarios shared by all stores are in [`crate::store::suite`].

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::store::suite::{self, Fixture};

impl Fixture for MemoryStore {
    fn open(&self) -> Arc<dyn BlobStore> {
        Arc::new(self.reopened())
    }
}

crate::blob_store_suite!(MemoryStore::new());

#[tokio::test]
async fn a_power_cut_loses_unsynced_bytes() {
    let store = MemoryStore::new();
    let upload = UploadId::random();
    let staged = store.stage(upload, 0).await.expect("staged");
    staged.write_at(0, vec![Bytes::from_static(b"hello")]).await.expect("written");
    staged.sync().await.expect("synced");
    staged.write_at(5, vec![Bytes::from_static(b", world")]).await.expect("written");
    store.power_cut();
    assert!(matches!(staged.sync().await, Err(StoreError::Closed(_))));
    assert!(matches!(store.stage(upload, 6).await, Err(StoreError::Damaged(_))));
    assert!(store.stage(upload, 5).await.is_ok());
}

#[tokio::test]
async fn a_power_cut_loses_an_unsynced_name() {
    let store = MemoryStore::new();
    let upload = UploadId::random();
    store.stage(upload, 0).await.expect("staged");
    store.power_cut();
    assert_eq!(store.uploads(), []);
}

#[tokio::test]
async fn a_power_cut_keeps_published_blobs_and_restores_removed_ones() {
    let store = MemoryStore::new();
    let (key, _) = suite::publish(&store, b"hello").await;
    store.power_cut();
    assert_eq!(store.bytes(&key).as_deref(), Some(&b"hello"[..]));
    store.remove(&key).await.expect("removed");
    assert_eq!(store.keys(), []);
    store.power_cut();
    assert_eq!(store.keys(), [key]);
}

#[tokio::test]
async fn a_torn_publish_leaves_a_name_without_bytes() {
    let store = MemoryStore::new();
    let upload = UploadId::random();
    let key = suite::key_of(b"hello");
    let staged = store.stage(upload, 0).await.expect("staged");
    staged.write_at(0, vec![Bytes::from_static(b"hello")]).await.expect("written");
    store.set_torn_publish(true);
    assert!(store.publish(upload, &key).await.is_err());
    store.power_cut();
    assert!(matches!(store.read(&key, 5, 0..5).await, Err(StoreError::Damaged(_))));
    assert!(store.unpublish(upload, &key).await.expect("undone"));
    assert_eq!(store.uploads(), [upload]);
}
