//! The test scenarios of every [`BlobStore`]. [`crate::blob_store_suite`] turns each into a test. They panic if a store
//! breaks its contract.

mod blobs;
mod places;
mod uploads;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;

use super::{BlobStore, ByteStream, StagedBytes, StoreError};
use crate::oci::{Algorithm, BlobKey, Generation, Hasher, UploadId};

pub use blobs::*;
pub use places::*;
pub use uploads::*;

/// A medium on which stores can be opened.
pub trait Fixture: Send + Sync {
    /// Opens the store as a new process would, with the content earlier ones left.
    fn open(&self) -> Arc<dyn BlobStore>;
}

/// Creates a `#[tokio::test]` for each scenario, each with a new fixture: `blob_store_suite!(MemoryStore::new())`.
#[macro_export]
macro_rules! blob_store_suite {
    ($fixture:expr) => {
        $crate::blob_store_suite!(@each $fixture;
            a_published_blob_is_read
            a_range_is_read
            a_range_beyond_the_end_is_rejected
            readers_survive_a_removal
            a_wrong_size_is_damaged
            a_blob_is_inspected
            a_blob_is_exported
            everything_is_listed
            disk_usage_is_measured
            a_working_store_is_sound_and_has_free_space
            an_empty_blob_is_published
            a_publish_without_staged_bytes_is_not_found
            a_publish_never_replaces
            an_unpublish_restores_the_staged_bytes
            an_unpublish_of_nothing_returns_false
            a_published_blob_cannot_be_written
            a_removed_blob_is_not_found
            generations_are_independent
            many_pieces_are_written_in_order
            an_upload_is_resumed_and_truncated
            staging_at_zero_discards_earlier_bytes
            too_few_staged_bytes_are_damaged
            staged_bytes_are_read_back
            a_discarded_upload_has_no_bytes
            a_new_owner_closes_older_handles
            a_dropped_write_ends_before_the_next_call
            a_dropped_write_ends_before_a_new_owner_starts
        );
    };
    (@each $fixture:expr; $($scenario:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                $crate::store::suite::$scenario(&$fixture).await;
            }
        )*
    };
}

/// Returns a key with a new generation for `content`.
pub fn key_of(content: &[u8]) -> BlobKey {
    BlobKey { digest: Hasher::digest(Algorithm::Sha256, content), generation: Generation::random() }
}

/// Publishes `content`. Returns its key and size.
pub async fn publish(store: &dyn BlobStore, content: &[u8]) -> (BlobKey, u64) {
    let key = key_of(content);
    let upload = UploadId::random();
    stage(store, upload, content).await;
    store.publish(upload, &key).await.expect("published");
    (key, content.len() as u64)
}

/// Reads the bytes of a range.
///
/// # Errors
/// Errors of the store.
pub async fn read(
    store: &dyn BlobStore,
    key: &BlobKey,
    size: u64,
    range: Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    collect(store.read(key, size, range).await?.into_stream()).await
}

/// Collects all bytes of a stream.
///
/// # Errors
/// Errors of the stream.
pub async fn collect(mut stream: ByteStream) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// Returns bytes that show when they are in the wrong position.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
pub fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8 ^ seed).collect()
}

async fn stage(store: &dyn BlobStore, upload: UploadId, content: &[u8]) -> Arc<dyn StagedBytes> {
    let staged = store.stage(upload, 0).await.expect("staged");
    staged.write_at(0, vec![Bytes::copy_from_slice(content)]).await.expect("written");
    staged
}

fn expect_closed(result: Result<(), StoreError>) {
    assert!(matches!(result, Err(StoreError::Closed(_))), "{result:?}");
}
