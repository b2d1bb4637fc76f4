//! The scenarios that every [`BlobStore`] runs, each a test of its own by [`crate::blob_store_suite`].
//! They panic where a store does not keep its promises.

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

/// A medium that stores can be opened on.
pub trait Fixture: Send + Sync {
    /// Opens the store as a new process would, with what earlier ones left.
    fn open(&self) -> Arc<dyn BlobStore>;
}

/// Makes a `#[tokio::test]` of each scenario, each with a new fixture: `blob_store_suite!(MemoryStore::new())`.
#[macro_export]
macro_rules! blob_store_suite {
    ($fixture:expr) => {
        $crate::blob_store_suite!(@each $fixture;
            what_was_published_is_read
            a_range_is_read
            a_range_beyond_the_end_is_refused
            readers_survive_a_removal
            a_wrong_size_is_damaged
            a_blob_is_inspected
            everything_is_listed
            what_is_spent_is_told
            the_store_is_sound_and_has_room
            nothing_is_a_blob_too
            a_publish_without_staged_bytes_finds_nothing
            a_publish_never_replaces
            an_unpublish_gives_the_bytes_back
            an_unpublish_of_nothing_says_so
            a_published_blob_cannot_be_written
            what_is_removed_is_gone
            generations_are_apart
            many_pieces_are_written_in_order
            an_upload_is_resumed_and_cut_back
            staging_at_zero_begins_anew
            too_few_staged_bytes_are_damaged
            staged_bytes_are_read_back
            what_is_discarded_is_gone
            a_newcomer_closes_older_handles
            a_dropped_write_ends_before_the_next_call
            a_dropped_write_ends_before_a_newcomer
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

/// A new generation of `content`.
pub fn key_of(content: &[u8]) -> BlobKey {
    BlobKey { digest: Hasher::digest(Algorithm::Sha256, content), generation: Generation::random() }
}

/// Puts `content` into the store. Its key and size.
pub async fn publish(store: &dyn BlobStore, content: &[u8]) -> (BlobKey, u64) {
    let key = key_of(content);
    let upload = UploadId::random();
    stage(store, upload, content).await;
    store.publish(upload, &key).await.expect("published");
    (key, content.len() as u64)
}

/// The bytes of a range.
///
/// # Errors
/// The store's.
pub async fn read(
    store: &dyn BlobStore,
    key: &BlobKey,
    size: u64,
    range: Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    collect(store.read(key, size, range).await?.into_stream()).await
}

/// All bytes of a stream.
///
/// # Errors
/// The stream's.
pub async fn collect(mut stream: ByteStream) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// Bytes that show when they are in the wrong place.
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
