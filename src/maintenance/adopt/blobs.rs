//! Takes over blobs, in batches: intents, files, a sync, rows, links. A crash between two of these leaves nothing that
//! the next start does not clean up.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::AdoptError;
use super::walk::{Target, Walk, blocking};
use crate::distribution::LayerLink;
use crate::metadata::{AdoptedBlob, BlobSize};
use crate::oci::{BlobKey, Digest, Generation, RepoName};
use crate::store::{self, AdoptedFile, Adoption, StoreError};

/// How many blobs are taken over at once.
pub(super) const BATCH: usize = 256;

/// How many files are linked or copied at once.
const CONCURRENT_FILES: usize = 4;

/// What became of a batch.
#[derive(Default)]
pub(super) struct Batch {
    /// Blobs that are new in the store.
    pub(super) blobs: u64,
    /// Their size in bytes.
    pub(super) bytes: u64,
    /// The blobs that the repository serves now.
    pub(super) present: Vec<Digest>,
    /// Blobs without a file.
    pub(super) missing: Vec<Digest>,
    /// Blobs whose copies had other digests.
    pub(super) damaged: Vec<(Digest, String)>,
}

/// Takes over the blobs that a repository links.
pub(super) async fn adopt(
    walk: &Walk<'_>,
    repository: &RepoName,
    layers: &[LayerLink],
) -> Result<Batch, AdoptError> {
    let Some(target) = walk.target else {
        return look(walk, layers).await;
    };
    let mut batch = Batch::default();
    let metadata = target.registry.metadata();
    let digests: Vec<Digest> = layers.iter().map(|layer| layer.digest.clone()).collect();
    let stored_as: HashMap<&Digest, &Digest> =
        layers.iter().map(|layer| (&layer.digest, &layer.stored_as)).collect();
    let key = |digest: &Digest| BlobKey { digest: digest.clone(), generation: Generation::random() };
    let wanted = metadata.plan_blobs(digests.iter().map(key).collect(), target.how == Adoption::Copy).await?;
    let placed: Vec<(BlobKey, Placed)> = stream::iter(wanted)
        .map(|key| place(target, walk.tree.blob_path(stored_as[&key.digest]), key))
        .buffer_unordered(CONCURRENT_FILES)
        .try_collect()
        .await?;
    let mut adopted = Vec::new();
    for (key, placed) in placed {
        match placed {
            Placed::File(file) => {
                batch.blobs += 1;
                batch.bytes += file.size;
                let size = BlobSize { logical: file.size, allocated: file.allocated };
                adopted.push(AdoptedBlob {
                    key,
                    repo: repository.clone(),
                    size,
                    hardlinked: file.links > 1,
                    verified: target.how == Adoption::Copy,
                });
            }
            Placed::Missing => {}
            Placed::Damaged(reason) => batch.damaged.push((key.digest, reason)),
        }
    }
    let keys: Vec<BlobKey> = adopted.iter().map(|blob| blob.key.clone()).collect();
    target.registry.blobs().sync_adopted(&keys).await?;
    let now = target.registry.clock().now();
    metadata.adopt_blobs(adopted, now).await?;
    let missing = metadata.adopt_links(repository, digests.clone(), now).await?;
    let missing: HashSet<Digest> = missing.into_iter().collect();
    (batch.missing, batch.present) = digests.into_iter().partition(|digest| missing.contains(digest));
    Ok(batch)
}

/// What became of one file.
enum Placed {
    /// It is in the store.
    File(AdoptedFile),
    /// The old registry has no file.
    Missing,
    /// Its copy has another digest.
    Damaged(String),
}

/// Brings a file into the store.
async fn place(target: Target<'_>, path: PathBuf, key: BlobKey) -> Result<(BlobKey, Placed), AdoptError> {
    let placed = match target.registry.blobs().adopt(&path, &key, target.how).await {
        Ok(file) => Placed::File(file),
        Err(store::AdoptError::NotFound) => Placed::Missing,
        Err(store::AdoptError::Store(StoreError::Damaged(reason))) => Placed::Damaged(reason),
        Err(error) => return Err(AdoptError::of_file(path, error)),
    };
    Ok((key, placed))
}

/// Finds out which blobs a plan would take over.
async fn look(walk: &Walk<'_>, layers: &[LayerLink]) -> Result<Batch, AdoptError> {
    let mut batch = Batch::default();
    for (digest, size) in sizes(walk, layers).await? {
        let Some(size) = size else {
            batch.missing.push(digest);
            continue;
        };
        if walk.counted.lock().insert(digest.clone()) {
            batch.blobs += 1;
            batch.bytes += size;
        }
        batch.present.push(digest);
    }
    Ok(batch)
}

/// Finds out which blobs the old registry has, and takes over none.
pub(super) async fn find(walk: &Walk<'_>, layers: &[LayerLink]) -> Result<Batch, AdoptError> {
    let (present, missing): (Vec<_>, Vec<_>) =
        sizes(walk, layers).await?.into_iter().partition(|(_, size)| size.is_some());
    let digests = |found: Vec<(Digest, Option<u64>)>| found.into_iter().map(|(digest, _)| digest).collect();
    Ok(Batch { present: digests(present), missing: digests(missing), ..Batch::default() })
}

/// Returns the sizes of the blobs in the old tree, in bytes.
async fn sizes(walk: &Walk<'_>, layers: &[LayerLink]) -> Result<Vec<(Digest, Option<u64>)>, AdoptError> {
    let tree = walk.tree.clone();
    let layers = layers.to_vec();
    let size = move |layer: LayerLink| {
        let file = std::fs::metadata(tree.blob_path(&layer.stored_as));
        (layer.digest, file.map(|file| file.len()).ok())
    };
    blocking(move || Ok(layers.into_iter().map(size).collect())).await
}
