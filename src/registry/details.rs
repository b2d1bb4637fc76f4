//! What an image is for, read when it is pushed: rules ask for platforms and labels later, when there is no
//! time to read every config.

use futures_util::StreamExt;

use super::Repository;
use crate::oci::{Digest, ImageDetails, MOST_CONFIG_BYTES, Manifest, ManifestKind, Role, index_platforms};

impl Repository {
    /// What a manifest that is being pushed is for. No push fails for it: what cannot be read is not known.
    pub(super) async fn image_details(&self, manifest: &Manifest, content: &[u8]) -> ImageDetails {
        match manifest.kind {
            ManifestKind::Index => {
                ImageDetails { platforms: index_platforms(content), ..ImageDetails::default() }
            }
            ManifestKind::Artifact => ImageDetails::of_artifact(),
            ManifestKind::Image => {
                match manifest.references.iter().find(|reference| reference.role == Role::Config) {
                    Some(config) if ImageDetails::are_in(&config.media_type) => {
                        let config = self.small_blob(&config.digest).await;
                        config.map(|config| ImageDetails::of_config(&config)).unwrap_or_default()
                    }
                    _ => ImageDetails::of_artifact(),
                }
            }
        }
    }

    /// The bytes of a blob that is small enough for a config.
    async fn small_blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let registry = &self.registry;
        let blob = registry.metadata.blob(&self.name, digest).await.ok()??;
        if blob.size > MOST_CONFIG_BYTES {
            return None;
        }
        let mut pieces = registry.blobs.read(&blob.key, blob.size, 0..blob.size).await.ok()?.into_stream();
        let mut content = Vec::with_capacity(usize::try_from(blob.size).ok()?);
        while let Some(piece) = pieces.next().await {
            content.extend_from_slice(&piece.ok()?);
        }
        Some(content)
    }
}
