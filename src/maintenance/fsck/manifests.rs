//! Checks every manifest: its content, and the blobs and manifests it refers to.

use std::collections::HashMap;
use std::sync::Arc;

use super::report::ProblemKind;
use super::{Check, Unit};
use crate::metadata::{Edge, EdgeKind, StoredManifest};
use crate::oci::{Digest, Hasher, Manifest, ManifestLimits, Reference};
use crate::registry::ServiceError;

/// The number of manifests fetched at once.
const MANIFEST_PAGE: usize = 64;

/// No limits, because a manifest may have been accepted under other settings.
const NO_LIMITS: ManifestLimits = ManifestLimits { max_references: usize::MAX };

impl Check<'_> {
    pub(super) async fn check_manifests(&mut self) -> Result<(), ServiceError> {
        let metadata = Arc::clone(self.registry.metadata());
        let total = metadata.totals().await?.manifests;
        let mut counter = self.counter("checking manifests", Unit::Items, Some(total));
        let mut after = i64::MIN;
        loop {
            let page = metadata.manifests_after(after, MANIFEST_PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            for manifest in &page {
                self.check_manifest(manifest).await?;
                counter.add(1);
            }
        }
    }

    async fn check_manifest(&mut self, manifest: &StoredManifest) -> Result<(), ServiceError> {
        self.findings.count_manifest();
        let actual = Hasher::digest(manifest.digest.algorithm(), &manifest.content);
        if actual != manifest.digest {
            let message = format!("its bytes hash to {actual}");
            self.findings.add(ProblemKind::DamagedManifest, name(manifest), message, false);
            return Ok(());
        }
        self.check_targets(manifest).await
    }

    /// Checks that the targets of a live manifest exist. Targets of a manifest in the trash may be gone. Which targets
    /// a manifest needs was recorded when it was pushed, by the Content-Type and the settings of that moment.
    async fn check_targets(&mut self, manifest: &StoredManifest) -> Result<(), ServiceError> {
        let mut described = self.described_sizes(manifest);
        let mut missing = Vec::new();
        let mut resized = Vec::new();
        for edge in self.registry.metadata().edges_of(manifest.id).await? {
            let described = described.remove(&edge.target);
            if !edge.required {
                continue;
            }
            match (self.size_of(manifest, &edge).await?, described) {
                (None, _) => missing.push(edge.target),
                (Some(size), Some(described)) if size != described => {
                    resized.push((edge.target, described, size));
                }
                (Some(_), _) => {}
            }
        }
        let sound = missing.is_empty() && resized.is_empty() && described.is_empty();
        if sound || !self.is_live(manifest).await? {
            return Ok(());
        }
        for target in missing {
            let what =
                if self.bad.contains(&target) { "whose content is damaged" } else { "which is missing" };
            let message = format!("refers to {target}, {what}");
            self.findings.add(ProblemKind::MissingTarget, name(manifest), message, false);
        }
        for (target, described, size) in resized {
            let manifest = name(manifest);
            self.findings.warn(format!(
                "{manifest}: describes {target} with {described} bytes, but it has {size}; \
                 some clients reject it"
            ));
        }
        for target in described.keys() {
            let manifest = name(manifest);
            self.findings.warn(format!(
                "{manifest}: refers to {target}, which is not recorded; push the manifest again"
            ));
        }
        Ok(())
    }

    /// Returns the targets a manifest refers to, with the sizes it states.
    fn described_sizes(&mut self, manifest: &StoredManifest) -> HashMap<Digest, u64> {
        let media_type = manifest.media_type.parse().ok();
        match Manifest::parse(&manifest.content, media_type.as_ref(), &NO_LIMITS) {
            Ok(parsed) => parsed.references.into_iter().map(|it| (it.digest, it.size)).collect(),
            // The content is what was accepted, perhaps by an earlier version with other rules.
            Err(error) => {
                self.findings.warn(format!("{}: would be rejected today: {error}", name(manifest)));
                HashMap::new()
            }
        }
    }

    /// Returns the size of an edge's target; `None` if it is missing or damaged.
    async fn size_of(&self, manifest: &StoredManifest, edge: &Edge) -> Result<Option<u64>, ServiceError> {
        let metadata = self.registry.metadata();
        Ok(match edge.kind {
            EdgeKind::Blob if self.bad.contains(&edge.target) => None,
            EdgeKind::Blob => metadata.blob(&manifest.repo, &edge.target).await?.map(|blob| blob.size),
            EdgeKind::Child | EdgeKind::Subject => {
                let reference = Reference::Digest(edge.target.clone());
                let target = metadata.manifest(&manifest.repo, &reference).await?;
                target.map(|target| target.content.len() as u64)
            }
        })
    }

    async fn is_live(&self, manifest: &StoredManifest) -> Result<bool, ServiceError> {
        let reference = Reference::Digest(manifest.digest.clone());
        Ok(self.registry.metadata().manifest(&manifest.repo, &reference).await?.is_some())
    }
}

fn name(manifest: &StoredManifest) -> String {
    format!("{}@{}", manifest.repo, manifest.digest)
}
