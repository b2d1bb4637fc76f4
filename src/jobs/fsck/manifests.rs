//! Every manifest: its bytes, and what it refers to.

use std::sync::Arc;

use super::report::ProblemKind;
use super::{Check, Unit};
use crate::metadata::StoredManifest;
use crate::oci::{Hasher, Manifest, ManifestLimits, ManifestReference, Reference, Role, TargetKind};
use crate::registry::Fault;

const PAGE: usize = 64;

/// What was accepted under another setting is a manifest still.
const NO_LIMITS: ManifestLimits = ManifestLimits { max_references: usize::MAX };

impl Check<'_> {
    pub(super) async fn manifests(&mut self) -> Result<(), Fault> {
        let metadata = Arc::clone(self.registry.metadata());
        let total = metadata.totals().await?.manifests;
        let mut counter = self.counter("checking manifests", Unit::Items, Some(total));
        let mut after = i64::MIN;
        loop {
            let page = metadata.manifests_after(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.id;
            for manifest in &page {
                self.manifest(manifest).await?;
                counter.add(1);
            }
        }
    }

    async fn manifest(&mut self, manifest: &StoredManifest) -> Result<(), Fault> {
        self.findings.count_manifest();
        let actual = Hasher::digest(manifest.digest.algorithm(), &manifest.content);
        if actual != manifest.digest {
            self.damaged(manifest, format!("its bytes hash to {actual}"));
            return Ok(());
        }
        match Manifest::parse(&manifest.content, None, &NO_LIMITS) {
            Ok(parsed) => self.targets(manifest, &parsed.references).await,
            Err(error) => {
                self.damaged(manifest, error.to_string());
                Ok(())
            }
        }
    }

    fn damaged(&mut self, manifest: &StoredManifest, message: String) {
        self.findings.add(ProblemKind::DamagedManifest, name(manifest), message, false);
    }

    /// A live manifest's targets must be there. What is in the trash may have lost some.
    async fn targets(
        &mut self,
        manifest: &StoredManifest,
        targets: &[ManifestReference],
    ) -> Result<(), Fault> {
        let mut missing = Vec::new();
        for target in targets.iter().filter(|target| self.is_required(target)) {
            if !self.is_there(manifest, target).await? {
                missing.push(target);
            }
        }
        if missing.is_empty() || !self.is_live(manifest).await? {
            return Ok(());
        }
        for target in missing {
            let what =
                if self.bad.contains(&target.digest) { "whose bytes are bad" } else { "which is not there" };
            let message = format!("refers to {}, {what}", target.digest);
            self.findings.add(ProblemKind::MissingTarget, name(manifest), message, false);
        }
        Ok(())
    }

    fn is_required(&self, target: &ManifestReference) -> bool {
        let sparse = self.registry.settings().sparse && target.role == Role::Child;
        !target.may_be_absent && !sparse
    }

    async fn is_there(&self, manifest: &StoredManifest, target: &ManifestReference) -> Result<bool, Fault> {
        let metadata = self.registry.metadata();
        Ok(match target.kind {
            TargetKind::Blob if self.bad.contains(&target.digest) => false,
            TargetKind::Blob => metadata.blob(&manifest.repo, &target.digest).await?.is_some(),
            TargetKind::Manifest => {
                let reference = Reference::Digest(target.digest.clone());
                metadata.manifest(&manifest.repo, &reference).await?.is_some()
            }
        })
    }

    async fn is_live(&self, manifest: &StoredManifest) -> Result<bool, Fault> {
        let reference = Reference::Digest(manifest.digest.clone());
        Ok(self.registry.metadata().manifest(&manifest.repo, &reference).await?.is_some())
    }
}

fn name(manifest: &StoredManifest) -> String {
    format!("{}@{}", manifest.repo, manifest.digest)
}
