//! Adopts one repository: its blobs, then its manifests, then its tags.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::blobs::{self, Batch};
use super::changes::Changes;
use super::error::AdoptError;
use super::manifests::{self, Broken, FoundManifest};
use super::report::{AdoptReport, FlawKind};
use super::walk::{Walk, blocking};
use crate::distribution::{Entry, LayerLink, RepositoryTree, Revision, TaggedRevision, TreeError};
use crate::metadata::{Adopted, AdoptedTag};
use crate::oci::{Digest, RepoName, TargetKind};
use crate::registry::{Access, PastTag, Repository};

/// How many manifests or tags are written at once, so that they share their commits.
const CONCURRENT_WRITES: usize = 32;

/// The adoption of one repository.
pub(super) struct RepositoryAdoption<'a, 'w> {
    walk: &'a Walk<'w>,
    tree: Arc<RepositoryTree>,
    report: &'a mut AdoptReport,
    /// The blobs that the repository serves.
    blobs: HashSet<Digest>,
    /// The manifests that the repository has.
    manifests: HashSet<Digest>,
    /// What is new since the last adoption. Without one, everything is.
    changes: Option<Changes>,
}

impl<'a, 'w> RepositoryAdoption<'a, 'w> {
    pub(super) fn new(walk: &'a Walk<'w>, tree: RepositoryTree, report: &'a mut AdoptReport) -> Self {
        Self {
            walk,
            tree: Arc::new(tree),
            report,
            blobs: HashSet::new(),
            manifests: HashSet::new(),
            changes: None,
        }
    }

    pub(super) async fn run(mut self) -> Result<(), AdoptError> {
        let revisions: Vec<Revision> = self.read(|tree| tree.revisions().collect()).await?;
        let layers: Vec<LayerLink> = self.read(|tree| tree.layers().collect()).await?;
        if let Some(since) = self.walk.seen_until() {
            self.changes = Some(Changes::find(self.walk, since, &revisions, &layers).await?);
        }
        self.adopt_blobs(layers).await?;
        self.adopt_manifests(revisions.into_iter().map(|revision| revision.digest).collect()).await?;
        self.adopt_tags().await
    }

    fn name(&self) -> &RepoName {
        &self.tree.name
    }

    /// The repository here, unless this is a plan.
    fn repository(&self) -> Option<Repository> {
        let registry = self.walk.target?.registry;
        Some(registry.repository(self.name().clone(), Access { push: false }))
    }

    async fn adopt_blobs(&mut self, layers: Vec<LayerLink>) -> Result<(), AdoptError> {
        let is_new =
            |layer: &LayerLink| self.changes.as_ref().is_none_or(|changes| changes.has_blob(&layer.digest));
        let (new, seen): (Vec<_>, Vec<_>) = layers.into_iter().partition(is_new);
        for batch in seen.chunks(blobs::BATCH) {
            let found = blobs::find(self.walk, batch).await?;
            self.note_blobs(found);
        }
        for batch in new.chunks(blobs::BATCH) {
            let linked = blobs::adopt(self.walk, self.name(), batch).await?;
            self.note_blobs(linked);
        }
        Ok(())
    }

    fn note_blobs(&mut self, batch: Batch) {
        for missing in batch.missing {
            let message = format!("it links {missing}, which is missing");
            self.report.add(FlawKind::DanglingLink, &self.tree.name, message, false);
        }
        for (digest, reason) in batch.damaged {
            let message = format!("{digest}: {reason}");
            self.report.add(FlawKind::Malformed, &self.tree.name, message, true);
        }
        self.report.blobs += batch.blobs;
        self.report.blob_bytes += batch.bytes;
        self.blobs.extend(batch.present);
    }

    /// Adopts the manifests in rounds: those that refer to others wait for them.
    async fn adopt_manifests(&mut self, mut waiting: Vec<Digest>) -> Result<(), AdoptError> {
        let mut left = waiting.len() + 1;
        while waiting.len() < left {
            left = waiting.len();
            waiting = self.adopt_round(waiting, true).await?;
        }
        self.adopt_round(waiting, false).await.map(drop)
    }

    /// Adopts these manifests. Returns those that have to wait for others among them.
    async fn adopt_round(&mut self, digests: Vec<Digest>, may_wait: bool) -> Result<Vec<Digest>, AdoptError> {
        let pending: HashSet<Digest> = digests.iter().cloned().collect();
        let mut later = Vec::new();
        for batch in digests.chunks(CONCURRENT_WRITES) {
            let mut ready = Vec::new();
            for (digest, found) in manifests::read_all(self.walk, batch).await? {
                match found {
                    Err(Broken { reason, has_content }) => {
                        let subject = format!("{}@{digest}", self.name());
                        self.report.add(FlawKind::BrokenManifest, subject, reason, has_content);
                    }
                    Ok(found) if may_wait && found.waits_for(&pending) => later.push(digest),
                    Ok(found) => ready.push(found),
                }
            }
            self.report_missing(&ready);
            self.store_manifests(ready).await?;
        }
        Ok(later)
    }

    /// Reports what manifests lack.
    fn report_missing(&mut self, found: &[FoundManifest]) {
        for FoundManifest { digest, manifest, .. } in found {
            for target in manifest.references.iter().filter(|target| !target.may_be_absent) {
                let is_present = match target.kind {
                    TargetKind::Blob => self.blobs.contains(&target.digest),
                    TargetKind::Manifest => self.manifests.contains(&target.digest),
                };
                if !is_present {
                    let subject = format!("{}@{digest}", self.tree.name);
                    let message = format!("{} is missing", target.digest);
                    self.report.add(FlawKind::MissingTarget, subject, message, false);
                }
            }
        }
    }

    async fn store_manifests(&mut self, found: Vec<FoundManifest>) -> Result<(), AdoptError> {
        self.manifests.extend(found.iter().map(|found| found.digest.clone()));
        let is_new = |found: &FoundManifest| {
            self.changes.as_ref().is_none_or(|changes| changes.has_manifest(&found.digest))
        };
        let (found, seen): (Vec<_>, Vec<_>) = found.into_iter().partition(is_new);
        self.report.known_manifests += seen.len() as u64;
        let Some(repository) = self.repository() else {
            self.report.manifests += found.len() as u64;
            return Ok(());
        };
        let stored: Vec<Adopted> = stream::iter(found)
            .map(|found| repository.adopt_manifest(found.digest, found.content, found.manifest))
            .buffer_unordered(CONCURRENT_WRITES)
            .try_collect()
            .await?;
        let new = stored.iter().filter(|adopted| **adopted == Adopted::New).count();
        self.report.manifests += new as u64;
        self.report.known_manifests += (stored.len() - new) as u64;
        Ok(())
    }

    /// Adopts the tags in the order of their last change, which policies see as the order of pushes.
    async fn adopt_tags(&mut self) -> Result<(), AdoptError> {
        let mut tags = self.read(|tree| tree.tags().collect()).await?;
        tags.sort_by_key(|tag: &TaggedRevision| tag.tagged_at);
        let (found, dangling): (Vec<_>, Vec<_>) =
            tags.into_iter().partition(|tag| self.manifests.contains(&tag.digest));
        for tag in dangling {
            let subject = format!("{}:{}", self.name(), tag.tag);
            let message = format!("it points at {}, which is missing or broken", tag.digest);
            self.report.add(FlawKind::DanglingTag, subject, message, false);
        }
        let Some(repository) = self.repository() else {
            self.report.tags += found.len() as u64;
            return Ok(());
        };
        let places = found.len();
        let adopted: Vec<AdoptedTag> = stream::iter(found.into_iter().enumerate())
            .map(|(place, tag)| {
                let TaggedRevision { tag, digest, tagged_at, past } = tag;
                repository.adopt_tag(PastTag { tag, digest, tagged_at, past, newer: places - place - 1 })
            })
            .buffer_unordered(CONCURRENT_WRITES)
            .try_collect()
            .await?;
        for adopted in adopted {
            match adopted {
                AdoptedTag::New => self.report.tags += 1,
                AdoptedTag::Moved => self.report.moved_tags += 1,
                AdoptedTag::Kept(_) => self.report.kept_tags += 1,
            }
        }
        Ok(())
    }

    /// Reads a list of the repository, and reports what is malformed in it.
    async fn read<T: Send + 'static>(
        &mut self,
        list: impl FnOnce(&RepositoryTree) -> Result<Vec<Entry<T>>, TreeError> + Send + 'static,
    ) -> Result<Vec<T>, AdoptError> {
        let tree = Arc::clone(&self.tree);
        let entries = blocking(move || list(&tree)).await?;
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry {
                Entry::Valid(item) => found.push(item),
                Entry::Dirt(finding) => self.report.add_finding(&finding),
            }
        }
        Ok(found)
    }
}
