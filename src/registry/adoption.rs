//! Taking over manifests and tags of another registry.

use std::time::Duration;

use bytes::Bytes;

use super::manifests::{Origin, edge};
use super::{Registry, Repository, ServiceError};
use crate::clock::Timestamp;
use crate::metadata::{AdoptManifest, AdoptTag, Adopted, AdoptedTag};
use crate::oci::{Digest, Manifest, ManifestLimits, Tag};

/// A tag as another registry has it.
#[derive(Debug, Clone)]
pub struct PastTag {
    /// The tag.
    pub tag: Tag,
    /// The manifest that it points at.
    pub digest: Digest,
    /// When it was set to point there.
    pub tagged_at: Timestamp,
    /// What it pointed at before and since when, oldest first.
    pub past: Vec<(Digest, Timestamp)>,
    /// How many tags that are adopted with it changed later.
    pub newer: usize,
}

impl Registry {
    /// Returns the limits of manifests.
    pub fn manifest_limits(&self) -> ManifestLimits {
        ManifestLimits { max_references: self.settings.max_references }
    }
}

impl Repository {
    /// Takes over a manifest whose digest was checked. It is held until the adoption is released.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn adopt_manifest(
        &self,
        digest: Digest,
        content: Bytes,
        manifest: Manifest,
    ) -> Result<Adopted, ServiceError> {
        let details = self.details(&manifest, &content).await;
        let adopted = AdoptManifest {
            repo: self.name.clone(),
            digest,
            content: content.into(),
            media_type: manifest.media_type.as_str().to_owned(),
            artifact_type: manifest.artifact_type,
            details,
            edges: manifest.references.iter().map(|target| edge(target, false, Origin::Record)).collect(),
            now: self.registry.clock.now(),
        };
        Ok(self.registry.metadata.adopt_manifest(adopted).await?)
    }

    /// Takes over a tag. That counts as a push; tags that are taken over together keep their order.
    ///
    /// # Errors
    /// Fails if the metadata store fails.
    pub async fn adopt_tag(&self, tag: PastTag) -> Result<AdoptedTag, ServiceError> {
        let PastTag { tag, digest, tagged_at, past, newer } = tag;
        let mut change = self.change();
        change.now = change.now.minus(Duration::from_millis(newer as u64));
        let adopted = AdoptTag { repo: self.name.clone(), tag, digest, tagged_at, history: past, change };
        Ok(self.registry.metadata.adopt_tag(adopted).await?)
    }
}
