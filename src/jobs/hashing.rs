//! Reading a blob to its end.

use bytes::Bytes;
use futures_util::StreamExt;

use crate::oci::{BlobKey, Digest, Hasher};
use crate::store::{BlobStore, StoreError};

/// Pieces of this size and more are hashed off the threads that serve requests.
const LARGE: usize = 32 << 10;

/// The digest of the bytes at `key`, which has `size` bytes by its record.
pub(super) async fn hash_blob(store: &dyn BlobStore, key: &BlobKey, size: u64) -> Result<Digest, StoreError> {
    let mut hasher = Hasher::new(key.digest.algorithm());
    let mut pieces = store.read(key, size, 0..size).await?.into_stream();
    while let Some(piece) = pieces.next().await {
        hasher = update(hasher, piece?).await?.0;
    }
    Ok(hasher.finish())
}

/// Goes on hashing with `piece`, and gives both back.
pub(super) async fn update(mut hasher: Hasher, piece: Bytes) -> Result<(Hasher, Bytes), StoreError> {
    if piece.len() < LARGE {
        hasher.update(&piece);
        return Ok((hasher, piece));
    }
    let hashed = tokio::task::spawn_blocking(move || {
        hasher.update(&piece);
        (hasher, piece)
    });
    hashed.await.map_err(|error| StoreError::Io(std::io::Error::other(error)))
}
