//! Hashing blobs, off the threads that serve requests where it takes long.

use bytes::Bytes;
use futures_util::StreamExt;

use super::{BlobStore, StoreError};
use crate::oci::{BlobKey, Digest, Hasher};

/// Chunks of at least this size are hashed on a thread for blocking work.
const BLOCKING_MIN_BYTES: usize = 32 << 10;

/// Reads the blob at `key`, which is `size` bytes long by its record, and returns the digest of its content.
pub(crate) async fn hash_blob(store: &dyn BlobStore, key: &BlobKey, size: u64) -> Result<Digest, StoreError> {
    let mut hasher = Hasher::new(key.digest.algorithm());
    let mut pieces = store.read(key, size, 0..size).await?.into_stream();
    while let Some(piece) = pieces.next().await {
        hasher = update(hasher, piece?).await?.0;
    }
    Ok(hasher.finish())
}

/// Adds `piece` to the hash. Returns both, so that the caller can go on using them.
pub(crate) async fn update(mut hasher: Hasher, piece: Bytes) -> Result<(Hasher, Bytes), StoreError> {
    if piece.len() < BLOCKING_MIN_BYTES {
        hasher.update(&piece);
        return Ok((hasher, piece));
    }
    let hashed = tokio::task::spawn_blocking(move || {
        hasher.update(&piece);
        (hasher, piece)
    });
    hashed.await.map_err(|error| StoreError::Io(std::io::Error::other(error)))
}
