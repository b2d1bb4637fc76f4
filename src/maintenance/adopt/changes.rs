//! What the old registry has got since the last complete adoption, which stored everything that was there.
//!
//! What is missing here of the rest was removed by a user or a policy, and does not come back, except for what something
//! new refers to: the old registry does not touch the links of content that its clients find there.

use std::collections::HashSet;

use super::error::AdoptError;
use super::manifests;
use super::walk::Walk;
use crate::clock::Timestamp;
use crate::distribution::{LayerLink, Revision};
use crate::oci::{Digest, TargetKind};

/// How many manifests are read at once.
const BATCH: usize = 32;

/// The content of a repository of the old registry that has to be here after an adoption.
pub(super) struct Changes {
    manifests: HashSet<Digest>,
    blobs: HashSet<Digest>,
}

impl Changes {
    /// Finds what was pushed to a repository since the last complete adoption ended, at `since`, and everything that it
    /// refers to.
    pub(super) async fn find(
        walk: &Walk<'_>,
        since: Timestamp,
        revisions: &[Revision],
        layers: &[LayerLink],
    ) -> Result<Self, AdoptError> {
        let new_blobs = layers.iter().filter(|layer| layer.linked_at >= since);
        let new: Vec<Digest> = revisions
            .iter()
            .filter(|revision| revision.pushed_at >= since)
            .map(|revision| revision.digest.clone())
            .collect();
        let mut changes = Self {
            manifests: new.iter().cloned().collect(),
            blobs: new_blobs.map(|layer| layer.digest.clone()).collect(),
        };
        let mut unread = new;
        while !unread.is_empty() {
            unread = changes.follow(walk, &unread).await?;
        }
        Ok(changes)
    }

    /// Adds what these manifests refer to. Returns the manifests that are new among that.
    async fn follow(&mut self, walk: &Walk<'_>, digests: &[Digest]) -> Result<Vec<Digest>, AdoptError> {
        let mut added = Vec::new();
        for batch in digests.chunks(BATCH) {
            // What is broken is reported when it is adopted.
            let found = manifests::read_all(walk, batch).await?.into_iter().filter_map(|(_, read)| read.ok());
            for target in found.flat_map(|found| found.manifest.references) {
                match target.kind {
                    TargetKind::Blob => drop(self.blobs.insert(target.digest)),
                    TargetKind::Manifest if self.manifests.insert(target.digest.clone()) => {
                        added.push(target.digest);
                    }
                    TargetKind::Manifest => {}
                }
            }
        }
        Ok(added)
    }

    /// Whether a manifest is among them.
    pub(super) fn has_manifest(&self, digest: &Digest) -> bool {
        self.manifests.contains(digest)
    }

    /// Whether a blob is among them.
    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs.contains(digest)
    }
}
