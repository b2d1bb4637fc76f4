//! Reads the platforms and labels of an image when it is pushed, because policies that need them later cannot read
//! every config.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::Semaphore;

use super::Repository;
use super::manifests::LARGE_MANIFEST;
use crate::memory::{Holder, Purpose};
use crate::metadata::{BlobRecord, PushedDetails};
use crate::oci::{
    DetailSelection, Digest, ImageConfig, ImageDetails, MAX_CONFIG_BYTES, Manifest, ManifestKind,
    ManifestReference, Role,
};
use crate::scheduling::run_blocking_with;

/// The maximum size of a config read for a policy, in bytes.
const MAX_CONFIG_BYTES_FOR_RULES: u64 = 4 << 20;

/// Configs larger than this are large: few are read at once, and they are parsed on blocking threads.
const LARGE_CONFIG_BYTES: u64 = 64 << 10;

/// How many large configs are read at once. A push waits here rather than for memory while it holds some.
static LARGE_CONFIGS: Semaphore = Semaphore::const_new(2);

/// The outcome of reading a config.
enum Config<T> {
    /// What was read from it.
    Read(T),
    /// It exceeds the size limit.
    TooLarge,
    /// It is absent, or its bytes could not be read.
    Unreadable,
}

impl Repository {
    /// Returns the details to record for a manifest that is being pushed. The push never fails because of them: what
    /// cannot be read stays unknown.
    pub(super) async fn details(&self, manifest: &Manifest, content: &Bytes) -> PushedDetails {
        match manifest.kind {
            ManifestKind::Index => PushedDetails::Own(index_details(content.clone()).await),
            ManifestKind::Artifact => PushedDetails::Own(ImageDetails::of_artifact()),
            ManifestKind::Image => {
                match manifest.references.iter().find(|target| target.role == Role::Config) {
                    Some(config) if ImageDetails::is_image_config(&config.media_type) => {
                        self.config_details(config).await
                    }
                    _ => PushedDetails::Own(ImageDetails::of_artifact()),
                }
            }
        }
    }

    async fn config_details(&self, config: &ManifestReference) -> PushedDetails {
        let digest = config.digest.clone();
        if self.registry.metadata.has_config_details(&digest).await.unwrap_or(false) {
            return PushedDetails::Config { digest, details: None };
        }
        let read = |config: &[u8]| Selection::Stored.read(config);
        let details = match self.read_config(&digest, MAX_CONFIG_BYTES, read).await {
            Config::Read(details) => Some(details),
            Config::TooLarge => Some(ImageDetails { incomplete: true, ..ImageDetails::default() }),
            Config::Unreadable => None,
        };
        PushedDetails::Config { digest, details }
    }

    /// Reads the details policies need from a config: platforms, and the values of these labels. `None` if it cannot be
    /// read.
    pub async fn details_for_rules(
        &self,
        config: &Digest,
        labels: &Arc<BTreeSet<String>>,
    ) -> Option<ImageDetails> {
        let selection = Selection::Labels(Arc::clone(labels));
        let read = move |config: &[u8]| selection.read(config);
        match self.read_config(config, MAX_CONFIG_BYTES_FOR_RULES, read).await {
            Config::Read(details) => Some(details),
            Config::TooLarge | Config::Unreadable => None,
        }
    }

    /// Reads the config of an image for people. `None` if it cannot be read or is larger than [`MAX_CONFIG_BYTES`].
    pub async fn image_config(&self, config: &Digest) -> Option<ImageConfig> {
        match self.read_config(config, MAX_CONFIG_BYTES, ImageConfig::read).await {
            Config::Read(config) => config,
            Config::TooLarge | Config::Unreadable => None,
        }
    }

    /// Reads a config of up to `max_bytes` and returns what `read` makes of it.
    async fn read_config<T: Send + 'static>(
        &self,
        digest: &Digest,
        max_bytes: u64,
        read: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Config<T> {
        let registry = &self.registry;
        let Ok(Some(blob)) = registry.metadata.blob(&self.name, digest).await else {
            return Config::Unreadable;
        };
        if blob.size > max_bytes {
            return Config::TooLarge;
        }
        let is_large = blob.size > LARGE_CONFIG_BYTES;
        let permit = if is_large { LARGE_CONFIGS.acquire().await.ok() } else { None };
        let held = usize::try_from(blob.size).unwrap_or(usize::MAX).saturating_mul(2);
        let memory =
            is_large.then(|| registry.memory().charge(Holder::Authenticated, Purpose::ParsedBodies, held));
        let Some(content) = self.read_all(&blob).await else {
            return Config::Unreadable;
        };
        if !is_large {
            return Config::Read(read(&content));
        }
        let read = run_blocking_with((permit, memory), move || read(&content)).await;
        read.map_or(Config::Unreadable, |(read, _)| Config::Read(read))
    }

    async fn read_all(&self, blob: &BlobRecord) -> Option<Vec<u8>> {
        let mut pieces =
            self.registry.blobs.read(&blob.key, blob.size, 0..blob.size).await.ok()?.into_stream();
        let mut content = Vec::with_capacity(usize::try_from(blob.size).ok()?);
        while let Some(piece) = pieces.next().await {
            content.extend_from_slice(&piece.ok()?);
        }
        Some(content)
    }
}

/// Reads the platforms of an index; returns none if the task that reads them fails.
async fn index_details(content: Bytes) -> ImageDetails {
    let is_large = content.len() > LARGE_MANIFEST;
    let read = move || ImageDetails::of_index(&content, DetailSelection::Stored);
    if !is_large {
        return read();
    }
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

/// A [`DetailSelection`] that can be moved to another thread.
enum Selection {
    Stored,
    Labels(Arc<BTreeSet<String>>),
}

impl Selection {
    fn read(&self, config: &[u8]) -> ImageDetails {
        let selection = match self {
            Self::Stored => DetailSelection::Stored,
            Self::Labels(keys) => DetailSelection::Labels(keys),
        };
        ImageDetails::of_config(config, selection)
    }
}
